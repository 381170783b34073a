// An MCP server made with @modelcontextprotocol/sdk (version 1) and express, behind Writ: two tools, one scope each.
//
//     WRIT_CLIENT_SECRET=... node weather_sdk1.mjs ISSUER RESOURCE CLIENT_ID [feed|poll|/push-path]
//
// Without a client id it verifies tokens, and hears of no revocations.

import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { protect } from '@writ/resource';
import express from 'express';

const [issuer, resource, clientId, how = 'feed'] = process.argv.slice(2);
const delivery = how.startsWith('/') ? { push: how } : how;
const clientSecret = process.env.WRIT_CLIENT_SECRET;

function weather() {
  const server = new McpServer({ name: 'Weather', version: '1.0.0' });
  const say = (text) => ({ content: [{ type: 'text', text }] });
  const caller = ({ authInfo }) => authInfo.extra.claims.caller;
  server.registerTool('forecast', { description: "Tomorrow's weather" }, (extra) => say(`Sunny, ${caller(extra)}.`));
  server.registerTool('alert', { description: 'Warns everybody' }, (extra) =>
    say(`Everybody is warned, by ${caller(extra)}.`),
  );
  return server;
}

const guard = protect({
  resource,
  issuer,
  tools: ['forecast', 'alert'],
  name: 'Weather',
  ...(clientId && { events: { clientId, clientSecret, delivery, tokenLifetime: 600 } }),
});
process.once('SIGTERM', () => guard.close().finally(() => process.exit()));

const app = express().use(guard);
app.all('/mcp', async (request, response) => {
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined });
  response.once('close', () => transport.close());
  await weather().connect(transport);
  await transport.handleRequest(request, response, request.body);
});
app.listen(Number(new URL(resource).port), '127.0.0.1');
