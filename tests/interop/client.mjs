// The main road through the TypeScript SDKs: node client.mjs sdk|client stdio|http|sse COMMAND|URL
import assert from "node:assert/strict";

const [name, kind, target] = process.argv.slice(2);
const paths = {
  sdk: {
    client: "@modelcontextprotocol/sdk/client/index.js",
    stdio: "@modelcontextprotocol/sdk/client/stdio.js",
    http: "@modelcontextprotocol/sdk/client/streamableHttp.js",
    sse: "@modelcontextprotocol/sdk/client/sse.js",
  },
  client: {
    client: "@modelcontextprotocol/client",
    stdio: "@modelcontextprotocol/client/stdio",
    http: "@modelcontextprotocol/client",
    sse: "@modelcontextprotocol/client",
  },
}[name];
const { Client } = await import(paths.client);
const transports = await import(paths[kind]);
const transport = {
  stdio: () => new transports.StdioClientTransport({ command: target, env: process.env }),
  http: () => new transports.StreamableHTTPClientTransport(new URL(target)),
  sse: () => new transports.SSEClientTransport(new URL(target)),
}[kind]();

// HTTP+SSE belongs to the older era; elsewhere the newer client finds out what the server speaks.
const versionNegotiation = kind === "sse" ? undefined : { mode: "auto" };
const client = new Client({ name: "interop", version: "1" }, { versionNegotiation });
await client.connect(transport);
if (name === "client") assert.equal(client.getProtocolEra(), kind === "sse" ? "legacy" : "modern");
const { tools } = await client.listTools();
assert(tools.some((tool) => tool.name === "chat"));
const answer = await client.callTool({ name: "chat", arguments: { prompt: "Hello" } });
assert.equal(answer.structuredContent.model, "demo/small");
const analysis = await client.callTool({ name: "analyze_complexity", arguments: { prompt: "Hello" } });
assert.equal(analysis.structuredContent.tier, "simple");
const { contents } = await client.readResource({ uri: "usage://today" });
assert(JSON.parse(contents[0].text).calls >= 1);
await client.close();
