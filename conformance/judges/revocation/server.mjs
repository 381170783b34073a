// An MCP server of @modelcontextprotocol/sdk and express behind `sdk/typescript`, which hears of revocations.
//
//     WRIT_CLIENT_SECRET=... node server.mjs ISSUER RESOURCE CLIENT_ID [feed|poll|/PATH]
//
// It keeps sessions, so that clients can open streams. It refuses everybody while it does not hear (503), so whoever
// is let in is let in by what it has heard.

import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

// The packages are those that sdk/typescript is tested with.
const sdk = createRequire(fileURLToPath(new URL('../../../sdk/typescript/package.json', import.meta.url)));
const load = (name) => import(sdk.resolve(name));
const { McpServer } = await load('@modelcontextprotocol/sdk/server/mcp.js');
const { StreamableHTTPServerTransport } = await load('@modelcontextprotocol/sdk/server/streamableHttp.js');
const { default: express } = await load('express');
const { protect } = await import('../../../sdk/typescript/dist/src/index.js');

const [issuer, resource, clientId, how = 'feed'] = process.argv.slice(2);
const events = {
  clientId,
  clientSecret: process.env.WRIT_CLIENT_SECRET,
  delivery: how.startsWith('/') ? { push: how } : how,
  whenStale: 'refuse',
  tokenLifetime: 600,
};

function weather() {
  const server = new McpServer({ name: 'Weather', version: '1.0.0' });
  const say = (text) => ({ content: [{ type: 'text', text }] });
  server.registerTool('forecast', { description: "Tomorrow's weather" }, ({ authInfo }) =>
    say(`Sunny, ${authInfo.extra.claims.caller}.`),
  );
  server.registerTool('alert', { description: 'Warns everybody' }, () => say('Everybody is warned.'));
  return server;
}

const sessions = new Map();

async function session(request) {
  const known = sessions.get(request.headers['mcp-session-id']);
  if (known) return known;
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    onsessioninitialized: (id) => sessions.set(id, transport),
  });
  transport.onclose = () => sessions.delete(transport.sessionId);
  await weather().connect(transport);
  return transport;
}

const { pathname, port } = new URL(resource);
const app = express();
app.use(protect({ resource, issuer, tools: ['forecast', 'alert'], events }));
app.all(pathname, async (request, response) => {
  await (await session(request)).handleRequest(request, response, request.body);
});
app.listen(Number(port), '127.0.0.1');
