// A host application with the TypeScript SDK in it: what it keeps, and the person in front of it.

import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Client, createPrivateKeyJwtAuth, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';
import { visit } from '../people/agent.mjs';

/** One host. With `store`, the name of a file, several processes share what it keeps, each reading it for itself. */
export class Host {
  asked = [];
  exchanges = [];

  constructor(resource, { document, declared, key, store } = {}) {
    this.resource = new URL(resource);
    this.clientMetadataUrl = document;
    this.store = store;
    this.kept = store && existsSync(store) ? JSON.parse(readFileSync(store, 'utf8')) : { client: declared };
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

  keep(what) {
    Object.assign(this.kept, what);
    if (!this.store) return;
    const draft = `${this.store}.${process.pid}`;
    writeFileSync(draft, JSON.stringify(this.kept));
    renameSync(draft, this.store);
  }

  clientInformation() {
    return this.kept.client;
  }

  saveClientInformation(client) {
    this.keep({ client });
  }

  tokens() {
    return this.kept.tokens;
  }

  saveTokens(tokens) {
    this.keep({ tokens });
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
      const transport = new StreamableHTTPClientTransport(this.resource, { authProvider: this, fetch: fetching });
      const client = new Client({ name: 'assistant', version: '1.0.0' });
      try {
        await client.connect(transport);
        return await work(client);
      } catch (error) {
        if (!(error instanceof UnauthorizedError) || turn > 1) throw error;
        if (this.answer.get('state') !== this.expected) throw new Error('the answer is for another request');
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
