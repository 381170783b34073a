/**
 * What a request must show before the MCP server sees it, whatever carries it.
 *
 * | check | POST and other methods with a body | GET, HEAD, DELETE, OPTIONS |
 * |---|---|---|
 * | metadata paths, without a token | 405 | the document; 405 to DELETE |
 * | path of pushed SETs, without a token | 202, 400, 503 | 405 |
 * | no token in the query | 400 | 400 |
 * | one `Authorization` header, scheme `Bearer` | 401, 400 | 401, 400 |
 * | the token verifies, and was not revoked | 401, 503 | 401, 503 |
 * | no content coding, no form, UTF-8 | 415, 400 | - |
 * | the body is within the limit | 413 | never passed on |
 * | the same token when the body is there | 401, 503 | - |
 * | one unambiguous JSON-RPC message or batch | 400 | - |
 * | the token allows every call in it | 403 | - |
 *
 * Whatever is still being answered when its token is revoked ends there and then, and a stream that was opened by GET
 * also when its token expires.
 */

import { badRpc, Entrance, Refusal, unavailable, unreadable } from './challenge.js';
import type { AccessClaims } from './claims.js';
import { UnavailableError, VerifyError } from './errors.js';
import { parseBody, readCalls, RpcError, type Call } from './rpc.js';
import { checkedScope, Policy, type PolicyOptions } from './scopes.js';
import { MAX_SET } from './sets.js';
import type { Members } from './strict.js';
import { Verifier, type VerifierOptions } from './verifier.js';
import { trustedUrl } from './web.js';

export interface ProtectOptions extends VerifierOptions, PolicyOptions {
  /** More scopes to announce, for what handlers check themselves. */
  scopes?: readonly string[];
  /** What a client without a token is told to ask for; every announced scope by default. */
  challengeScopes?: readonly string[];
  /** A name for people (`resource_name`). */
  name?: string;
  /** A page for developers (`resource_documentation`). */
  documentation?: string;
  /** Octets of the longest body that is read; 4 MiB. */
  maxBody?: number;
}

/** What the SDK calls an `AuthInfo`. */
export interface AuthInfo {
  token: string;
  clientId: string;
  scopes: string[];
  expiresAt: number;
  resource: URL;
  extra: { claims: AccessClaims };
}

/** A request, as far as it is looked at. */
export interface Arrival {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: Headers;
  /** Every `Authorization` header. */
  authorization: readonly string[];
  /** The body, undefined when it is longer than `limit`; or what a parser before this made of it. */
  body: (limit: number) => Promise<{ octets: Uint8Array } | { parsed: unknown } | undefined>;
}

/** A request that may pass if its token still holds, and allows the calls in it, when it does. */
export interface Admission {
  token: string;
  claims: AccessClaims;
  /** Undefined for methods without one. */
  body?: { octets?: Uint8Array; parsed: unknown; calls: readonly Call[] };
}

/** A request that is being answered. */
export interface Entry {
  auth: AuthInfo;
  /** The answer has ended. */
  leave: () => void;
}

const WELL_KNOWN = '/.well-known/oauth-protected-resource';

/** Milliseconds of the longest timer there is. */
const LONGEST_TIMER = 2 ** 31 - 1;

const BODILESS = ['GET', 'HEAD', 'DELETE', 'OPTIONS'];

export class Guard {
  readonly verifier: Verifier;
  /** The RFC 9728 document. */
  readonly metadata: Members;
  readonly #policy: Policy;
  readonly #entrance: Entrance;
  readonly #metadataPath: string;
  readonly #maxBody: number;
  readonly #open = new Set<{ claims: AccessClaims; end: () => void }>();

  constructor(options: ProtectOptions) {
    this.verifier = new Verifier(options);
    this.#policy = new Policy(options);
    this.#maxBody = options.maxBody ?? 4 * 1024 * 1024;
    const { name, documentation, scopes = [], resource, issuer } = options;
    const announced = [...new Set([...this.#policy.announced, ...scopes.map(checkedScope)])].sort();
    const challenged = options.challengeScopes?.map(checkedScope).sort() ?? announced;
    // RFC 9728 §3.1: inserted between host and path, without a final slash.
    const { origin, pathname } = new URL(resource);
    this.#metadataPath = WELL_KNOWN + pathname.replace(/\/+$/, '');
    this.#entrance = new Entrance(origin + this.#metadataPath, challenged.join(' '));
    if (documentation !== undefined) trustedUrl('documentation', documentation);
    this.metadata = {
      resource,
      authorization_servers: [issuer],
      bearer_methods_supported: ['header'],
      ...(announced.length > 0 && { scopes_supported: announced }),
      ...(name !== undefined && { resource_name: name }),
      ...(documentation !== undefined && { resource_documentation: documentation }),
    };
    this.verifier.receiver?.watch(() => this.#endWhatWasRevoked());
  }

  /** What may `enter`; throws the `Refusal` that is the answer to everything else. */
  async admit(arrival: Arrival): Promise<Admission> {
    if (arrival.path === this.#metadataPath || arrival.path === WELL_KNOWN) throw this.#document(arrival.method);
    if (arrival.path === this.verifier.pushUrl?.pathname) throw await this.#push(arrival);
    const token = this.#presented(arrival);
    const claims = await this.#verified(this.verifier.verify(token));
    if (BODILESS.includes(arrival.method)) return { token, claims };
    const begun = performance.now();
    const body = await this.#readBody(arrival);
    // Whoever sends slowly decides when this is.
    const waited = (performance.now() - begun) / 1000;
    return { token, claims: await this.#verified(this.verifier.verifyAgain(token, claims, waited)), body };
  }

  /**
   * Decides for the last time, and from then on calls `end` when the token is revoked, `expire` when it has expired.
   * Nothing can happen in between, because nothing is awaited. Throws a `Refusal`.
   */
  enter({ token, claims: admitted, body }: Admission, end: () => void, expire: () => void): Entry {
    const claims = this.#standing(admitted);
    const missing = this.#policy.missing(claims, body?.calls ?? []);
    if (missing.length > 0) throw this.#entrance.insufficientScope(missing.join(' '));
    const { clientId, scopes, exp } = claims;
    const resource = new URL(this.verifier.resource);
    const open = { claims, end };
    this.#open.add(open);
    const timer = setTimeout(expire, Math.min(this.verifier.remaining(claims) * 1000, LONGEST_TIMER)).unref();
    const auth = { token, clientId, scopes, expiresAt: exp, resource, extra: { claims } };
    const leave = () => {
      this.#open.delete(open);
      clearTimeout(timer);
    };
    return { auth, leave };
  }

  /** The answer to a token that was revoked while its request was being answered. */
  revoked(): Refusal {
    return this.#entrance.invalidToken('the token has been revoked');
  }

  #verified(verdict: Promise<AccessClaims>): Promise<AccessClaims> {
    return verdict.catch((error: unknown) => {
      throw this.#refusalFor(error);
    });
  }

  #standing(claims: AccessClaims): AccessClaims {
    try {
      return this.verifier.standing(claims);
    } catch (error) {
      throw this.#refusalFor(error);
    }
  }

  #refusalFor(error: unknown): unknown {
    if (error instanceof UnavailableError) return unavailable(error.message);
    return error instanceof VerifyError ? this.#entrance.invalidToken(error.message) : error;
  }

  async #readBody(arrival: Arrival): Promise<NonNullable<Admission['body']>> {
    readable(arrival.headers);
    const body = Number(arrival.headers.get('content-length')) > this.#maxBody ? undefined : await arrival.body(this.#maxBody);
    if (body === undefined) throw unreadable(413, 'the body is longer than this server reads');
    try {
      const read = 'parsed' in body ? body : { ...body, parsed: parseBody(body.octets) };
      return { ...read, calls: readCalls(read.parsed, arrival.headers) };
    } catch (error) {
      throw error instanceof RpcError ? badRpc(error.code, error.message) : error;
    }
  }

  /** The token of the `Authorization` header, and of nowhere else (RFC 6750 §2.1). */
  #presented({ query, authorization }: Arrival): string {
    if (query.has('access_token')) {
      throw this.#entrance.invalidRequest('a token in the query is never accepted: use the Authorization header');
    }
    const [header = '', ...others] = authorization;
    if (others.length > 0) throw this.#entrance.invalidRequest('more than one Authorization header');
    const space = `${header} `.indexOf(' ');
    const [scheme, token] = [header.slice(0, space), header.slice(space).trim()];
    if (scheme.toLowerCase() !== 'bearer') throw this.#entrance.noToken();
    if (token === '') throw this.#entrance.invalidRequest('the token is empty');
    return token;
  }

  /** The RFC 9728 document, for browsers of any origin too. */
  #document(method: string): Refusal {
    const open = { 'access-control-allow-origin': '*', allow: 'GET, HEAD, OPTIONS' };
    if (method === 'GET' || method === 'HEAD') {
      return new Refusal(200, this.metadata, { ...open, 'cache-control': 'max-age=300' });
    }
    if (method !== 'OPTIONS') return unreadable(405, 'metadata is only read', open);
    const allowed = { 'access-control-allow-methods': 'GET, HEAD, OPTIONS', 'access-control-allow-headers': '*' };
    return new Refusal(204, undefined, { ...open, ...allowed });
  }

  /** Push delivery (RFC 8935 §2). */
  async #push({ method, headers, authorization, body }: Arrival): Promise<Refusal> {
    if (method !== 'POST') return unreadable(405, 'SETs are delivered by POST', { allow: 'POST' });
    const read = await body(MAX_SET);
    const octets = read === undefined ? undefined : 'octets' in read ? Buffer.from(read.octets) : Buffer.from('');
    try {
      const contentType = headers.get('content-type') ?? undefined;
      const error = await this.verifier.receiver?.push(authorization[0], contentType, octets?.toString('latin1'));
      if (error === undefined) return new Refusal(202, undefined);
      return new Refusal(400, { err: error.err, description: error.description }, { 'content-language': 'en' });
    } catch (error) {
      if (error instanceof UnavailableError) return unavailable(error.message);
      throw error;
    }
  }

  #endWhatWasRevoked(): void {
    for (const { claims, end } of this.#open) {
      if (this.verifier.receiver?.decide(claims).verdict === 'denied') end();
    }
  }
}

/** Whether the octets of the body are the octets the server will read. */
function readable(headers: Headers): void {
  if ((headers.get('content-encoding') ?? 'identity').toLowerCase() !== 'identity') {
    throw unreadable(415, 'a body with a content coding is not read');
  }
  const [mediaType, ...parameters] = (headers.get('content-type') ?? '').toLowerCase().split(';').map((part) => part.trim());
  if (mediaType === 'application/x-www-form-urlencoded') {
    throw unreadable(400, 'the body is JSON, and the token is in the Authorization header only');
  }
  const charsets = parameters.filter((part) => part.startsWith('charset=')).map((part) => part.slice(8).replaceAll('"', ''));
  if (charsets.some((charset) => charset !== 'utf-8' && charset !== 'utf8')) throw unreadable(415, 'JSON is in UTF-8');
}
