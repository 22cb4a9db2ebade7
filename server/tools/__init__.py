"""The MCP tools: one module for each, and what they share in `base`."""
