"""Everything that speaks to people and programs: MCP, transports, settings, the command line."""
