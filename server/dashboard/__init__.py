"""The page of usage: over HTTP at /dashboard, and inside hosts as an MCP App."""
