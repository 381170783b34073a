// The same server made with @modelcontextprotocol/server (version 2) and no framework: handlers of `Request`.
//
//     WRIT_CLIENT_SECRET=... node weather_sdk2.mjs ISSUER RESOURCE CLIENT_ID [feed|poll|/push-path]

import { createServer } from 'node:http';
import { Readable } from 'node:stream';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import { protect } from '@writ/resource';

const [issuer, resource, clientId, how = 'feed'] = process.argv.slice(2);
const delivery = how.startsWith('/') ? { push: how } : how;
const clientSecret = process.env.WRIT_CLIENT_SECRET;

function weather() {
  const server = new McpServer({ name: 'Weather', version: '1.0.0' });
  const say = (text) => ({ content: [{ type: 'text', text }] });
  const caller = ({ http }) => http.authInfo.extra.claims.caller;
  server.registerTool('forecast', { description: "Tomorrow's weather" }, (context) => say(`Sunny, ${caller(context)}.`));
  server.registerTool('alert', { description: 'Warns everybody' }, (context) =>
    say(`Everybody is warned, by ${caller(context)}.`),
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
const handler = createMcpHandler(weather);
const serve = guard.fetch((request, caller) => handler.fetch(request, caller));

process.once('SIGTERM', () => guard.close().finally(() => process.exit()));

// Where the platform speaks `Request` and `Response` by itself, `export default { fetch: serve }` is all.
createServer(async (request, response) => {
  const hasBody = request.method === 'POST';
  const init = { method: request.method, headers: request.headers, ...(hasBody && { body: Readable.toWeb(request), duplex: 'half' }) };
  const answer = await serve(new Request(new URL(request.url, resource), init));
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  if (answer.body) Readable.fromWeb(answer.body).pipe(response);
  else response.end();
}).listen(Number(new URL(resource).port), '127.0.0.1');
