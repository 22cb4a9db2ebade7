"""What a prompt asks for, as named features and two small heads."""
