// The TypeScript SDK's own client signs a person in: registered, known by its document, with and without keys.
//
//     node typescript_client.mjs DOCUMENT_ORIGIN
//
// Each way: a tool, a tool that needs more, and the first one again when the token has run out.

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, createPrivateKeyJwtAuth, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';
import { claims, Judge, scene } from '../judging.mjs';
import { visit } from '../people/agent.mjs';

const judge = new Judge('typescript');
const stage = scene();
const [origin] = process.argv.slice(2);
const notes = stage.resources.notes.resource;
const sorted = (text) => text.split(' ').sort();

/** A host application's side of the SDK: what it keeps, and the person in front of it. */
class Host {
  asked = [];
  exchanges = [];

  constructor({ document, declared, key } = {}) {
    this.clientMetadataUrl = document;
    this.client = declared;
    const id = document ?? declared?.client_id;
    if (key) this.addClientAuthentication = createPrivateKeyJwtAuth({ issuer: id, subject: id, privateKey: key, alg: key.alg });
  }

  redirectUrl = 'http://127.0.0.1:9/callback'; // nobody listens: the user agent stops before it

  get clientMetadata() {
    return {
      client_name: 'Assistant',
      redirect_uris: [this.redirectUrl],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    };
  }

  state() {
    return (this.expected = randomUUID());
  }

  clientInformation() {
    return this.client;
  }

  saveClientInformation(client) {
    this.client = client;
  }

  tokens() {
    return this.kept;
  }

  saveTokens(tokens) {
    this.kept = tokens;
  }

  discoveryState() {
    return this.discovered;
  }

  saveDiscoveryState(discovered) {
    this.discovered = discovered;
  }

  async redirectToAuthorization(url) {
    this.asked.push(url.href);
    this.answer = (await visit(url)).searchParams;
  }

  saveCodeVerifier(verifier) {
    this.verifier = verifier;
  }

  codeVerifier() {
    return this.verifier;
  }

  /** Does `work`; when the SDK says that the person has to be asked, finishes that and does it again. */
  async does(work) {
    const fetching = async (url, init) => {
      const answer = await fetch(url, init);
      this.exchanges.push({ path: new URL(url).pathname, status: answer.status, body: `${init?.body ?? ''}` });
      return answer;
    };
    for (let turn = 0; ; turn++) {
      const transport = new StreamableHTTPClientTransport(new URL(notes), { authProvider: this, fetch: fetching });
      const client = new Client({ name: 'assistant', version: '1.0.0' });
      try {
        await client.connect(transport);
        return await work(client);
      } catch (error) {
        if (!(error instanceof UnauthorizedError) || turn > 1) throw error;
        judge.check('the answer is for this request', this.answer.get('state') === this.expected);
        await transport.finishAuth(this.answer);
      } finally {
        await client.close().catch(() => undefined);
      }
    }
  }

  granted(grant) {
    return this.exchanges.filter(({ path, body }) => path === '/token' && body.includes(`grant_type=${grant}`));
  }
}

async function way(name, host, authenticates) {
  const read = (client) => client.callTool({ name: 'read_note', arguments: { name: 'plan' } });
  const write = (client) => client.callTool({ name: 'write_note', arguments: { name: 'plan', text: 'walk' } });
  const said = await host.does(read);
  judge.check(`${name}: a tool is called after signing in`, !said.isError, said.content[0].text.slice(0, 100));
  const first = claims(host.kept.access_token);
  judge.equal(`${name}: as this client`, first.client_id, host.clientMetadataUrl ?? host.client.client_id);
  judge.equal(`${name}: with this scope`, sorted(first.scope).filter((scope) => scope.startsWith('tool:')), ['tool:read_note']);
  judge.equal(`${name}: the client authenticates as it said`,
    host.granted('authorization_code').map(({ body, status }) => [body.includes('client_assertion='), status]), [[authenticates, 200]]);
  judge.check(`${name}: a refresh token came with it`, host.kept.refresh_token);

  const written = await host.does(write);
  judge.check(`${name}: a tool that needs more is refused first`, host.exchanges.some(({ status }) => status === 403));
  judge.equal(`${name}: then the person is asked again, and it is done`, [host.asked.length, written.content[0].text], [2, 'wrote plan']);
  const second = claims(host.kept.access_token);
  judge.equal(`${name}: nothing that was granted is lost`,
    sorted(second.scope).filter((scope) => scope.startsWith('tool:')), ['tool:read_note', 'tool:write_note']);

  await sleep(Math.max(0, second.exp * 1000 - Date.now()) + 1000);
  const late = await host.does(write);
  judge.equal(`${name}: when the token has run out it is refreshed`,
    [late.content[0].text, host.granted('refresh_token').map(({ status }) => status)], ['wrote plan', [200]]);
  judge.equal(`${name}: without asking the person`, host.asked.length, 2);
  judge.equal(`${name}: with the same scopes`, sorted(claims(host.kept.access_token).scope), sorted(second.scope));
}

const ways = {
  DCR: [new Host(), false],
  CIMD: [new Host({ document: `${origin}/typescript.json` }), false],
  'CIMD with private_key_jwt': [new Host({ document: `${origin}/keyed.json`, key: stage.keys.ES256 }), true],
  'declared, with private_key_jwt': [
    new Host({ declared: { client_id: 'keyed-app', issuer: stage.issuer }, key: stage.keys.EdDSA }), true,
  ],
};
await Promise.all(Object.entries(ways).map(async ([name, [host, authenticates]]) => {
  try {
    await way(name, host, authenticates);
  } catch (error) {
    judge.check(`${name} came to its end`, false, `${error.name} ${error.message} ${error.cause ?? ''}`.slice(0, 800));
  }
}));
judge.finish();
