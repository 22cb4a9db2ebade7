"""What the commands of `tierwise` do, one module for each."""
