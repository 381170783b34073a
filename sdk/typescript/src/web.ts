/** The way to the authorization server: whom to trust with a request, and bounded answers. */

import { SetupError, WebError } from './errors.js';
import { isObject, readJson, type Members } from './strict.js';

/** Octets of the largest document that is read. */
export const MAX_DOCUMENT = 512 * 1024;

/** Seconds since 1970. */
export type Clock = () => number;

/** Who this server is at the authorization server. */
export interface Credentials {
  clientId: string;
  clientSecret: string;
}

/** An answer, read whole. */
export interface Answer {
  status: number;
  headers: Headers;
  body: Uint8Array;
}

/** An absolute https URL without a fragment; http on loopback, for development. */
export function trustedUrl(name: string, value: string): URL {
  const refuse = (why: string) => new SetupError(`${name} ${JSON.stringify(value)}: ${why}`);
  // ASCII that needs no quoting in a header's quoted string either.
  if (!URL.canParse(value) || !/^[!#-;=?-[\]^_`a-z{|}~]+$/.test(value)) {
    throw refuse('an absolute URL is needed, such as https://host/path');
  }
  const url = new URL(value);
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopback(url))) {
    throw refuse('https is needed; http only on a loopback address');
  }
  if (value.includes('#') || url.username || url.password) {
    throw refuse('neither a fragment nor credentials may be in it');
  }
  return url;
}

/** Whether the host is this machine's loopback interface. */
export const isLoopback = (url: URL): boolean =>
  url.hostname === 'localhost' || url.hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(url.hostname);

/** HTTP Basic, encoded as RFC 6749 §2.3.1 says. */
export function basic({ clientId, clientSecret }: Credentials): string {
  const encoded = (part: string) => new URLSearchParams({ '': part }).toString().slice(1);
  return `Basic ${Buffer.from(`${encoded(clientId)}:${encoded(clientSecret)}`).toString('base64')}`;
}

/** The object an answer holds. */
export function objectIn(answer: Answer): Members {
  const value = jsonIn(answer);
  if (!isObject(value)) throw new WebError('an answer is not a JSON object', answer.status);
  return value;
}

/** The JSON an answer holds. */
export function jsonIn({ body, status }: Answer): unknown {
  try {
    return readJson(body);
  } catch {
    throw new WebError('an answer is not JSON', status);
  }
}

/** The first octets of an answer, for a log. */
export const wordsOf = ({ body }: Answer): string => Buffer.from(body.subarray(0, 200)).toString();

/** Requests to one issuer and to the endpoints its metadata names: no redirects, bounded in time. */
export class Web {
  readonly #documents = new Map<string, Members>();
  readonly #url: URL;

  constructor(
    readonly issuer: string,
    private readonly timeout: number,
  ) {
    this.#url = trustedUrl('issuer', issuer);
  }

  /** The answer, whatever its status. */
  async send(url: string, init: RequestInit & { wait?: number; limit?: number } = {}): Promise<Answer> {
    const { wait = this.timeout, limit = MAX_DOCUMENT, signal, ...request } = init;
    const limits = [AbortSignal.timeout(wait * 1000), ...(signal ? [signal] : [])];
    try {
      const response = await fetch(url, { ...request, redirect: 'manual', signal: AbortSignal.any(limits) });
      const chunks: Uint8Array[] = [];
      let length = 0;
      for await (const chunk of response.body ?? []) {
        length += chunk.length;
        if (length > limit) throw new WebError(`${url} answered more than ${limit} octets`);
        chunks.push(chunk);
      }
      return { status: response.status, headers: response.headers, body: Buffer.concat(chunks) };
    } catch (error) {
      throw asWebError(url, error);
    }
  }

  /** The answer of 200 at an address. */
  async get(url: string): Promise<Answer> {
    const answer = await this.send(url, { headers: { accept: 'application/json' } });
    if (answer.status !== 200) throw new WebError(`${url} answered ${answer.status}`, answer.status);
    return answer;
  }

  /** An endpoint that the issuer's metadata names (RFC 8414 §3, OpenID Connect Discovery 1.0 §4). */
  async endpoint(name: string): Promise<string> {
    const path = this.#path();
    const forms = [`/.well-known/oauth-authorization-server${path}`, `/.well-known/openid-configuration${path}`];
    if (path) forms.push(`${path}/.well-known/openid-configuration`);
    let failure: unknown;
    for (const form of forms) {
      try {
        return this.named(await this.#document(form), name);
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  /** The issuer's SSF configuration (SSF 1.0, transmitter configuration metadata). */
  transmitter(): Promise<Members> {
    return this.#document(`/.well-known/ssf-configuration${this.#path()}`);
  }

  /** Lets the next look-up ask again: what was found did not work, or is not new. */
  forget(): void {
    this.#documents.clear();
  }

  /** A URL in metadata: https, and on this machine only when the issuer is here too. */
  named(document: Members, name: string): string {
    const value = document[name];
    if (typeof value !== 'string') throw new WebError(`the metadata does not name ${name}`);
    let url: URL;
    try {
      url = trustedUrl(name, value);
    } catch (error) {
      throw new WebError((error as Error).message);
    }
    if (isLoopback(url) && !isLoopback(this.#url)) throw new WebError(`${name} leads to this machine`);
    return value;
  }

  #path(): string {
    return this.#url.pathname.replace(/\/+$/, '');
  }

  async #document(path: string): Promise<Members> {
    const known = this.#documents.get(path);
    if (known !== undefined) return known;
    const url = new URL(path, this.#url).href;
    const document = objectIn(await this.get(url));
    // RFC 8414 §3.3: identical, or the document belongs to someone else.
    if (document['issuer'] !== this.issuer) throw new WebError(`${url} is of another issuer`);
    this.#documents.set(path, document);
    return document;
  }
}

/** What went wrong on the way, as one kind of error. */
export function asWebError(url: string, error: unknown): WebError {
  if (error instanceof WebError) return error;
  const { name, message, cause } = error as Error;
  const why = cause instanceof Error ? cause.message : message;
  return new WebError(`${url}: ${name} ${why}`);
}
