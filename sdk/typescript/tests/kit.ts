/** A real transmitter and authorization server on a loopback port, and what signs for it. */

import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { CompactSign, exportJWK } from 'jose';
import { isObject, type Members } from '../src/strict.js';
import { Verifier, type VerifierOptions } from '../src/verifier.js';
import type { Events } from '../src/events.js';

export const NOW = 1_795_000_000;
export const RESOURCE = 'http://127.0.0.1:8000/mcp';
export const SECRET = 's3cret-._~';

const rsa = () => generateKeyPairSync('rsa', { modulusLength: 2048 });
const edwards = generateKeyPairSync('ed25519');
const PAIRS = {
  RS256: rsa(),
  PS256: rsa(),
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: edwards,
  Ed25519: edwards,
};
const OTHER = rsa().privateKey;
type Algorithm = keyof typeof PAIRS;

const PUBLISHED: Members = {};
for (const [alg, { publicKey }] of Object.entries(PAIRS)) {
  PUBLISHED[alg] = { ...(await exportJWK(publicKey)), kid: alg, alg, use: 'sig' };
}

export const vectors = (name: string): Members =>
  JSON.parse(readFileSync(new URL(`../../../vectors/${name}`, import.meta.url), 'utf8')) as Members;

/** `base` with the members of `over`; null removes one. */
export function laid(over: unknown, base: Members): Members {
  const all = Object.entries({ ...base, ...(over as Members | undefined) });
  return Object.fromEntries(all.filter(([, value]) => value !== null));
}

const segment = (value: string | Buffer) => Buffer.from(value).toString('base64url');

/** A compact JWS; `how` also knows the ways in which attackers sign. */
export async function sign(header: Members, claims: Members, how = 'RS256'): Promise<string> {
  const kid = how in PAIRS ? how : 'RS256';
  const payload = JSON.stringify(claims);
  if (how === 'none' || how === 'HS256') {
    const input = `${segment(JSON.stringify(laid(header, { kid, alg: how })))}.${segment(payload)}`;
    const secret = JSON.stringify(PUBLISHED['RS256']);
    return `${input}.${segment(createHmac('sha256', secret).update(input).digest())}`;
  }
  const alg = how === 'other' ? 'RS256' : how;
  const key: KeyObject = how === 'other' ? OTHER : PAIRS[kid as Algorithm].privateKey;
  const { crit, ...rest } = laid(header, { kid });
  const signer = new CompactSign(new TextEncoder().encode(payload));
  const protectedHeader = { ...rest, alg, ...(crit !== undefined && { crit: crit as string[] }) };
  return signer.setProtectedHeader(protectedHeader).sign(key, { crit: { exp: true, b64: true } });
}

/** A clock that moves when it is told to. */
export class ManualClock {
  now = NOW;
  /** Has it go on by itself. */
  run = () => (this.#begun = Date.now() / 1000);
  readonly read = () => this.now + (this.#begun ? Date.now() / 1000 - this.#begun : 0);
  #begun = 0;
}

/** What every feed begins with: nothing that a receiver has to understand. */
const NEWS = ':\n\nevent: news\nid: news-1\ndata: of a kind that\ndata: nobody knows\n\nevent: set\n\n';

interface Known {
  status: string;
  said: Members;
  queue: Map<string, string>;
  log: Map<string, string>;
  feed: number;
}

/** One issuer with its metadata, tokens, streams and all deliveries, over HTTP. */
export class Transmitter {
  issuer = '';
  resource = RESOURCE;
  algorithms: string[] = Object.keys(PAIRS);
  /** What the SSF configuration and streams say differently. */
  metadata: Members = {};
  streamSays: Members = {};
  readonly streams = new Map<string, Known>();
  readonly errors: Record<string, { err: string }> = {};
  /** Tokens that introspection denies, by `jti`; endpoints that answer 503. */
  readonly inactive = new Set<string>();
  readonly down = new Set<string>();
  mostStreams = 16;
  /** Ends replays before all is told. */
  cutsReplays = false;
  /** Verifications are taken, and never echoed. */
  isMute = false;
  /** Happens while introspection is under way. */
  meanwhile: () => Promise<void> = () => Promise.resolve();
  readonly requests: string[] = [];
  readonly pushed: { delivery: Members; token: string }[] = [];
  readonly clock = new ManualClock();
  #created = 0;
  #jti = 0;
  #waiting: (() => void)[] = [];

  count = (name: string) => this.requests.filter((request) => request === name).length;

  user = (sub = 'ada') => ({ format: 'iss_sub', iss: this.issuer, sub });

  nextName = (prefix: string) => `${prefix}-${++this.#jti}`;

  /** A signed SET; `caep/session-revoked` for short. */
  async set(kind: string, subId: Members, payload: Members = {}, claims: Members = {}): Promise<[string, string]> {
    const [family, name] = kind.split('/');
    const event = `https://schemas.openid.net/secevent/${family}/event-type/${name}`;
    const base = {
      iss: this.issuer, aud: this.resource, iat: this.clock.now, jti: this.nextName('set'), txn: 'cause',
      sub_id: subId, events: { [event]: payload },
    };
    const all = laid(claims, base);
    return [all['jti'] as string, await sign({ typ: 'secevent+jwt' }, all)];
  }

  /** An access token. */
  token(claims: Members = {}, how = 'RS256', header: Members = {}): Promise<string> {
    const base = {
      iss: this.issuer, sub: 'ada', aud: this.resource, client_id: 'agent', jti: this.nextName('token'),
      grant_id: 'grant-1', iat: this.clock.now, exp: this.clock.now + 300, scope: 'tool:forecast',
    };
    return sign(laid(header, { typ: 'at+jwt' }), laid(claims, base), how);
  }

  /** Ends everything of a user, for every stream. */
  revoke = (sub?: string) => this.emit('caep/session-revoked', this.user(sub));

  async emit(kind: string, subId: Members, payload?: Members, claims?: Members): Promise<void> {
    const [jti, token] = await this.set(kind, subId, payload, claims);
    for (const stream of this.streams.keys()) this.offer(stream, jti, token);
  }

  offer(stream: string, jti: string, token: string): void {
    const { status, queue, log } = this.stream(stream);
    if (status !== 'disabled') queue.set(jti, token);
    log.set(jti, token);
    this.notify();
  }

  stream(id = [...this.streams.keys()][0] ?? ''): Known {
    const known = this.streams.get(id);
    if (known === undefined) throw new Error(`there is no stream ${id}`);
    return known;
  }

  notify(): void {
    this.#waiting.splice(0).forEach((wake) => wake());
  }

  /** Stops every stream; what arises meanwhile is kept for none, but can be told again. */
  disable(): void {
    for (const known of this.streams.values()) known.status = 'disabled';
  }

  /** As when the access token of a feed has expired. */
  endFeeds(): void {
    for (const known of this.streams.values()) known.feed += 1;
    this.notify();
  }

  /** Waits for traffic to have made `condition` true. */
  async until(condition: () => unknown, seconds = 5): Promise<void> {
    for (let tries = 0; !condition(); tries++) {
      if (tries > 200 * seconds) throw new Error(`it did not come: ${condition}`);
      await pause(5);
    }
  }

  // --- what receivers see

  readonly listener: RequestListener = (request, response) => {
    void this.#serve(request, response).catch((error) => response.writeHead(500).end(String(error)));
  };

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.issuer);
    const chunks = await request.toArray();
    const body = Buffer.concat(chunks as Buffer[]).toString();
    const json = (value: unknown, status = 200) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    const name = url.pathname.split('/').at(-1) ?? '';
    this.requests.push(`${request.method} ${name}`);
    if (this.down.has(name)) return void response.writeHead(503).end();
    switch (name) {
      case 'oauth-authorization-server':
        return void json({
          issuer: this.issuer, jwks_uri: `${this.issuer}/jwks`, token_endpoint: `${this.issuer}/token`,
          introspection_endpoint: `${this.issuer}/introspect`,
        });
      case 'ssf-configuration': {
        const ends = ['configuration', 'status', 'verification', 'feed'];
        const endpoints = ends.map((end) => [`${end}_endpoint`, `${this.issuer}/ssf/${end}`]);
        return void json(laid(this.metadata, { issuer: this.issuer, jwks_uri: `${this.issuer}/jwks`, ...Object.fromEntries(endpoints) }));
      }
      case 'jwks':
        return void json({ keys: this.algorithms.map((alg) => PUBLISHED[alg]) });
      case 'token':
      case 'introspect': {
        const expected = `Basic ${Buffer.from(`weather:${encodeURIComponent(SECRET).replace('~', '%7E')}`).toString('base64')}`;
        if (request.headers.authorization !== expected) return void json({ error: 'invalid_client' }, 401);
        if (name === 'introspect') await this.meanwhile();
        if (name === 'introspect') return void json(this.#introspected(new URLSearchParams(body)));
        const isRight = body === 'grant_type=client_credentials&scope=ssf.manage';
        return void json(isRight ? { access_token: 'api-token', token_type: 'Bearer', expires_in: 300 } : {}, isRight ? 200 : 400);
      }
      default:
        return this.#ssf(name, request, response, url, body ? (JSON.parse(body) as Members) : {}, json);
    }
  }

  #introspected(form: URLSearchParams): Members {
    const claims = JSON.parse(Buffer.from(form.get('token')?.split('.')[1] ?? '', 'base64url').toString()) as Members;
    const active = !this.inactive.has(claims['jti'] as string);
    return { active, ...(active && { scope: claims['scope'] }) };
  }

  async #ssf(
    name: string,
    request: IncomingMessage,
    response: ServerResponse,
    url: URL,
    said: Members,
    json: (value: unknown, status?: number) => unknown,
  ): Promise<void> {
    if (request.headers.authorization !== 'Bearer api-token') return void json({ error: 'invalid_token' }, 401);
    const id = url.searchParams.get('stream_id') ?? (said['stream_id'] as string | undefined);
    if (name === 'configuration') return void this.#configure(request.method, id, said, response, json);
    if (id === undefined || !this.streams.has(id)) return void json({}, 404);
    const known = this.stream(id);
    if (name === 'status') {
      if (request.method === 'POST') known.status = said['status'] as string;
      this.notify();
      return void json({ stream_id: id, status: known.status });
    }
    if (name === 'verification') {
      const [jti, token] = await this.set('ssf/verification', { format: 'opaque', id }, { state: said['state'] });
      const delivery = known.said['delivery'] as Members;
      if (this.#isPush(known)) this.pushed.push({ delivery, token });
      else if (!this.isMute) this.offer(id, jti, token);
      return void response.writeHead(204).end();
    }
    if (name === 'poll') return this.#poll(known, said, request, json);
    return this.#feed(id, known, request, response, url);
  }

  #configure(
    method: string | undefined,
    id: string | undefined,
    said: Members,
    response: ServerResponse,
    json: (value: unknown, status?: number) => unknown,
  ): unknown {
    if (method === 'GET') return json([...this.streams.keys()].map((stream) => this.#shown(stream)));
    if (method === 'DELETE') {
      this.streams.delete(id ?? '');
      return response.writeHead(204).end();
    }
    if (id === undefined && this.streams.size === this.mostStreams) return json({ error: 'access_denied' }, 403);
    const name = id ?? `stream-${++this.#created}`;
    const known = this.streams.get(name) ?? { status: 'enabled', said: {}, queue: new Map(), log: new Map(), feed: 0 };
    known.said = { ...known.said, ...said };
    this.streams.set(name, known);
    return json(this.#shown(name), method === 'POST' ? 201 : 200);
  }

  #shown(id: string): Members {
    const { authorization_header: _, ...delivery } = this.stream(id).said['delivery'] as Members;
    if (!this.#isPush(this.stream(id))) delivery['endpoint_url'] = `${this.issuer}/ssf/poll?stream_id=${id}`;
    return { stream_id: id, iss: this.issuer, aud: this.resource, ...this.stream(id).said, delivery, ...this.streamSays };
  }

  #isPush = ({ said }: Known) => (said['delivery'] as Members)['method'] === 'urn:ietf:rfc:8935';

  async #poll(known: Known, said: Members, request: IncomingMessage, json: (value: unknown) => unknown): Promise<void> {
    const errors = isObject(said['setErrs']) ? said['setErrs'] : {};
    for (const jti of [...((said['ack'] as string[] | undefined) ?? []), ...Object.keys(errors)]) known.queue.delete(jti);
    Object.assign(this.errors, errors);
    const isEnabled = () => known.status === 'enabled';
    while (said['maxEvents'] !== 0 && known.queue.size === 0 && isEnabled() && !request.destroyed) {
      await this.#change(request);
    }
    json({ sets: said['maxEvents'] === 0 || !isEnabled() ? {} : Object.fromEntries([...known.queue].slice(0, said['maxEvents'] as number)) });
  }

  async #feed(id: string, known: Known, request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const number = ++known.feed;
    const last = request.headers['last-event-id'] as string | undefined;
    if (last !== undefined && known.queue.has(last)) {
      for (const jti of known.queue.keys()) {
        known.queue.delete(jti);
        if (jti === last) break;
      }
    }
    const sent = new Set<string>();
    const send = (jti: string, token: string) => {
      sent.add(jti);
      response.write(`id: ${jti}\nevent: set\ndata: ${token}\n\n`);
    };
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(NEWS);
    if (url.searchParams.has('replay')) known.log.forEach((token, jti) => send(jti, token));
    if (this.#isPush(known) && !this.cutsReplays) response.write('event: end\ndata: {}\n\n');
    while (!this.#isPush(known) && known.feed === number && this.streams.get(id) === known && !response.destroyed) {
      for (const [jti, token] of known.queue) if (!sent.has(jti) && known.status === 'enabled') send(jti, token);
      await this.#change(request);
    }
    response.end();
  }

  #change(request: IncomingMessage): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      request.socket.once('close', () => resolve());
    });
  }
}

/** A server on a loopback port, while `work` runs; gives its origin. */
export async function serving<T>(listener: RequestListener, work: (origin: string) => Promise<T>): Promise<T> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    return await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

/** A transmitter that runs, while `work` does. */
export async function transmitting<T>(work: (transmitter: Transmitter) => Promise<T>): Promise<T> {
  const transmitter = new Transmitter();
  return serving(transmitter.listener, (origin) => {
    transmitter.issuer = origin;
    return work(transmitter);
  });
}

/** The settings that all tests begin with. */
export const settings = (transmitter: Transmitter, events?: Partial<Events>): VerifierOptions => ({
  resource: RESOURCE,
  issuer: transmitter.issuer,
  clock: transmitter.clock.read,
  ...(events && {
    events: {
      clientId: 'weather', clientSecret: SECRET, instance: 'one', tokenLifetime: 600, whenStale: 'refuse', ...events,
    },
  }),
});

/** What a heartbeat does, without waiting for it. */
export async function beat(transmitter: Transmitter, verifier: Verifier): Promise<void> {
  const state = transmitter.nextName('beat');
  verifier.receiver?.health.asked(state);
  const [, token] = await transmitter.set('ssf/verification', { format: 'opaque', id: 'stream-1' }, { state });
  await verifier.receiver?.accept(token);
}
