"""How the server is reached: over this process's standard streams, or over HTTP."""
