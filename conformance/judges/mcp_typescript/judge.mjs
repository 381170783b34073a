// The TypeScript SDK's own client with Writ, against a Node MCP server and against the Python one.

import {
  Client,
  ClientCredentialsProvider,
  PrivateKeyJwtProvider,
  StreamableHTTPClientTransport,
} from '@modelcontextprotocol/client';
import { fileURLToPath } from 'node:url';
import { claims, Judge, scene, token, withDemo, withServer } from '../judging.mjs';

const judge = new Judge('mcp-typescript');
const stage = scene();
const { issuer, clients, keys } = stage;
const notes = stage.resources.notes;
const weather = stage.resources.weather;
const here = (file) => fileURLToPath(new URL(file, import.meta.url));

/** The SDK signs in with a secret by Basic; told by the registration that it is `client_secret_post`, by that. */
class PostProvider extends ClientCredentialsProvider {
  clientInformation() {
    return { ...super.clientInformation(), token_endpoint_auth_method: 'client_secret_post' };
  }
}

const withSecret = (Provider, client, more = {}) => () =>
  new Provider({
    clientId: client,
    clientSecret: clients[client].client_secret,
    expectedIssuer: issuer,
    ...more,
  });
const withKey = (algorithm) => () =>
  new PrivateKeyJwtProvider({
    clientId: 'agent-key',
    privateKey: keys[algorithm],
    algorithm,
    expectedIssuer: issuer,
  });

/** Connect with the SDK's client; `exchanges` is what went over the wire. */
async function connect(provider, resource, exchanges = []) {
  const watch = async (input, init) => {
    const answer = await fetch(input, init);
    const headers = new Headers(init?.headers);
    exchanges.push({ method: init?.method ?? 'GET', url: String(input), status: answer.status, headers, body: init?.body });
    return answer;
  };
  const client = new Client({ name: 'judge', version: '1.0.0' });
  await client.connect(new StreamableHTTPClientTransport(new URL(resource), { authProvider: provider, fetch: watch }));
  return { client, exchanges };
}

const form = (exchange) => new URLSearchParams(exchange.body);
const ways = {
  client_secret_basic: [
    'agent-basic',
    withSecret(ClientCredentialsProvider, 'agent-basic'),
    (sent) => sent.headers.get('authorization')?.startsWith('Basic ') && !form(sent).has('client_secret'),
  ],
  client_secret_post: [
    'agent-post',
    withSecret(PostProvider, 'agent-post'),
    (sent) => form(sent).has('client_secret') && !sent.headers.has('authorization'),
  ],
  ...Object.fromEntries(
    ['RS256', 'PS256', 'ES256', 'EdDSA'].map((algorithm) => [
      `private_key_jwt with ${algorithm}`,
      [
        'agent-key',
        withKey(algorithm),
        (sent) => claims(form(sent).get('client_assertion'), 0).alg === algorithm && !sent.headers.has('authorization'),
      ],
    ]),
  ),
};

async function nodeServer() {
  for (const [way, [clientId, provide, used]] of Object.entries(ways)) {
    console.log(`-- ${way}`);
    const provider = provide();
    const { client, exchanges } = await connect(provider, notes.resource);
    const { tools } = await client.listTools();
    judge.equal('tools/list through the SDK\'s client', tools.map((tool) => tool.name).sort(), ['read_note', 'write_note']);
    const result = await client.callTool({ name: 'read_note', arguments: { name: 'plan' } });
    const said = JSON.parse(result.content[0].text);
    judge.equal('tools/call read_note succeeds for this client', said.asked_by, clientId);
    judge.equal('with the one scope asked for', said.scopes, ['tool:read_note']);
    for (const { status, method, url } of exchanges.slice(0, 5)) judge.note(`${status} ${method} ${url}`);
    judge.equal('the first request was refused', exchanges[0].status, 401);
    const sent = exchanges.find(({ url }) => url.endsWith('/token'));
    judge.check('the token request was authenticated that way', used(sent) && sent.status === 200);
    const tokens = provider.tokens();
    judge.equal('aud is the resource', claims(tokens.access_token).aud, notes.resource);
    judge.equal('scope of the answer is the token\'s', tokens.scope, claims(tokens.access_token).scope);

    const before = exchanges.length;
    const written = await client.callTool({ name: 'write_note', arguments: { name: 'plan', text: 'walk' } });
    const refused = exchanges.slice(before).find(({ status }) => status === 403);
    judge.check('write_note is refused first: 403', refused !== undefined);
    judge.equal('then the client steps up by itself and succeeds', written.content[0].text, 'wrote plan');
    judge.equal(
      'with both scopes in the new token',
      provider.tokens().scope.split(' ').sort(),
      ['tool:read_note', 'tool:write_note'],
    );
    await client.close();
  }

  console.log('-- what has to be refused');
  const call = (bearer) =>
    fetch(notes.resource, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        ...(bearer && { authorization: `Bearer ${bearer}` }),
      },
      body: JSON.stringify({
        jsonrpc: '2.0',
        id: 1,
        method: 'initialize',
        params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'judge', version: '1' } },
      }),
    });
  const good = await token(stage, 'agent-basic', 'notes', 'tool:read_note');
  judge.equal('a good token is accepted (so the refusals below mean something)', (await call(good)).status, 200);
  const answer = await call();
  const challenge = answer.headers.get('www-authenticate') ?? '';
  judge.equal('no token: 401', answer.status, 401);
  judge.check('the challenge has resource_metadata', /^Bearer .*resource_metadata="/.test(challenge), challenge);
  const elsewhere = await token(stage, 'agent-basic', 'weather', 'tool:forecast');
  judge.equal('a token for another resource: 401', (await call(elsewhere)).status, 401);
  const [head, payload, signature] = good.split('.');
  const swapped = (await token(stage, 'agent-basic', 'notes', 'tool:write_note')).split('.')[1];
  judge.equal('another token\'s claims under this signature: 401', (await call(`${head}.${swapped}.${signature}`)).status, 401);
  judge.equal('a token without a signature: 401', (await call(`${head}.${payload}.`)).status, 401);
  await judge.refused(
    'a wrong secret ends the flow with invalid_client',
    () => connect(withSecret(ClientCredentialsProvider, 'agent-basic', { clientSecret: 'wrong' })(), notes.resource),
    (error) => /invalid_client/.test(`${error.code} ${error.message}`),
  );
  const exchanges = [];
  const elsewhereOnly = withSecret(ClientCredentialsProvider, 'agent-basic', { expectedIssuer: `${issuer}/t/acme` })();
  await judge.refused(
    'a client bound to another issuer stops',
    () => connect(elsewhereOnly, notes.resource, exchanges),
    (error) => error.name === 'AuthorizationServerMismatchError',
  );
  judge.check('and sends its secret nowhere', exchanges.length > 0 && !exchanges.some(({ url }) => url.endsWith('/token')));
}

async function pythonServer() {
  console.log('-- at the MCP server in Python');
  const { client } = await connect(withSecret(ClientCredentialsProvider, 'agent-basic')(), weather.resource);
  const result = await client.callTool({ name: 'forecast', arguments: { city: 'Lund' } });
  judge.equal('tools/call forecast succeeds for this client', JSON.parse(result.content[0].text).asked_by, 'agent-basic');
  await client.close();
}

async function rustServer(demo) {
  console.log('-- at the MCP server in Rust, behind Writ\'s layer');
  const provider = new ClientCredentialsProvider({
    clientId: demo.client_id,
    clientSecret: demo.client_secret,
    expectedIssuer: demo.issuer,
  });
  const { client, exchanges } = await connect(provider, demo.mcp_server);
  const found = await client.callTool({ name: 'search_notes', arguments: { query: 'ferry' } });
  judge.check('tools/call search_notes succeeds', /Texel/.test(found.content[0].text));
  judge.equal('with the scope the challenge named', provider.tokens().scope, 'tool:search_notes');
  const before = exchanges.length;
  const written = await client.callTool({ name: 'add_note', arguments: { text: 'from TypeScript' } });
  judge.check('add_note is refused first: 403', exchanges.slice(before).some(({ status }) => status === 403));
  judge.check('then the client steps up by itself and succeeds', !written.isError, written.content[0].text);
  judge.equal('with both scopes in the new token', provider.tokens().scope.split(' ').sort(), ['tool:add_note', 'tool:search_notes']);
  await judge.refused('delete_note, which it was never given, is refused',
    () => client.callTool({ name: 'delete_note', arguments: { id: 1 } }), () => true);
  await client.close();
}

const log = (name) => `${stage.directory}/${name}.log`;
await withServer(process.execPath, [here('server.mjs'), issuer, notes.resource, notes.port], notes.resource, log('node'), nodeServer);
const python = process.env.PYTHON ?? 'python3';
const pythonArguments = [here('../mcp_python/server.py'), issuer, weather.resource, weather.port];
await withServer(python, pythonArguments, weather.resource, log('python'), pythonServer);
await withDemo(stage, rustServer);
judge.finish();
