/** `protect`: the guard as express middleware, and around handlers that turn a `Request` into a `Response`. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import { Refusal } from './challenge.js';
import type { Status } from './events.js';
import { Guard, type Admission, type Arrival, type AuthInfo, type Entry, type ProtectOptions } from './guard.js';
import type { Members } from './strict.js';
import type { Verifier } from './verifier.js';

/** A request of express, or of plain `node:http`. */
export type NodeRequest = IncomingMessage & { auth?: AuthInfo; body?: unknown; originalUrl?: string; _body?: boolean };

/** Who calls, for a handler; the official SDK reads `authInfo` from there. */
export interface Caller {
  authInfo: AuthInfo;
}

/** Turns a request into a response; `caller` tells whom it is for. */
export type FetchHandler = (request: Request, caller: Caller) => Response | Promise<Response>;

export interface Protection {
  /** Express middleware, to be used before all routes; sets `req.auth`. */
  (request: NodeRequest, response: ServerResponse, next: (error?: unknown) => void): void;
  /** A handler for `Request`s that the given one only sees when they may pass. */
  fetch(handler: FetchHandler): (request: Request) => Promise<Response>;
  /** What checks the tokens, for instance to load the keys at start. */
  readonly verifier: Verifier;
  /** The RFC 9728 document, for a server that publishes it elsewhere too. */
  readonly metadata: Members;
  /** How the receiver of revocations is; undefined without `events`. */
  status(): Status | undefined;
  /** Stops listening for revocations, and deletes the stream when its name was made up. */
  close(): Promise<void>;
}

/** Protects an MCP server, and begins to listen for revocations when there are `events`. */
export function protect(options: ProtectOptions): Protection {
  const guard = new Guard(options);
  guard.verifier.start();
  const middleware = (request: NodeRequest, response: ServerResponse, next: (error?: unknown) => void): void => {
    void passNode(guard, request, response, next);
  };
  return Object.assign(middleware, {
    fetch: (handler: FetchHandler) => (request: Request) => passFetch(guard, request, handler),
    verifier: guard.verifier,
    metadata: guard.metadata,
    status: () => guard.verifier.receiver?.status(),
    close: () => guard.verifier.stop(),
  });
}

// --- express

async function passNode(
  guard: Guard,
  request: NodeRequest,
  response: ServerResponse,
  next: (error?: unknown) => void,
): Promise<void> {
  try {
    const admission = await guard.admit(arrivalOf(request));
    // Nobody waits any more, and there will be no `close` to watch for.
    if (response.destroyed) return;
    // An aborted connection is what every handler has to expect; a second answer is not.
    const end = () => response.destroy();
    // A call that takes longer than its token lives is still answered.
    const expire = () => request.method === 'GET' && response.headersSent && end();
    const { auth, leave } = guard.enter(admission, end, expire);
    response.once('close', leave);
    const { body } = admission;
    request.auth = auth;
    // The body has been read, which parsers that come later are told like this.
    if (body !== undefined) [request.body, request._body] = [body.parsed, true];
    withoutToken(request, body === undefined);
  } catch (error) {
    if (error instanceof Refusal) answer(request, response, error);
    else next(error);
    return;
  }
  next();
}

function arrivalOf(request: NodeRequest): Arrival {
  const url = new URL(request.originalUrl ?? request.url ?? '/', 'http://localhost');
  const headers = new Headers();
  for (const [name, values] of Object.entries(request.headersDistinct)) {
    for (const value of values ?? []) headers.append(name, value);
  }
  return {
    method: request.method ?? 'GET',
    path: url.pathname,
    query: url.searchParams,
    headers,
    authorization: request.headersDistinct['authorization'] ?? [],
    body: async (limit) => {
      if (request.body !== undefined) return { parsed: request.body };
      // Or what is too long would take the connection with it.
      return bounded(request.iterator({ destroyOnReturn: false }), limit);
    },
  };
}

/** MCP forbids passing the token on, so it is not where a proxy would find it. */
function withoutToken(request: NodeRequest, isBodiless: boolean): void {
  const hidden = ['authorization', ...(isBodiless ? ['content-length', 'transfer-encoding'] : [])];
  for (const name of hidden) delete request.headers[name];
  const pairs = request.rawHeaders.flatMap((name, index, all) => (index % 2 ? [] : [[name, all[index + 1] ?? '']]));
  request.rawHeaders = pairs.filter(([name = '']) => !hidden.includes(name.toLowerCase())).flat();
}

function answer(request: NodeRequest, response: ServerResponse, refusal: Refusal): void {
  // What was not read of the body is not waited for.
  if (!request.readableEnded) response.setHeader('connection', 'close');
  response.writeHead(refusal.status, refusal.headers);
  response.end(refusal.text ?? undefined);
}

// --- Request and Response

async function passFetch(guard: Guard, request: Request, handler: FetchHandler): Promise<Response> {
  const over = new AbortController();
  let isOpen = false;
  let admission: Admission;
  let entry: Entry;
  try {
    admission = await guard.admit(arrivalOfFetch(request));
    const end = () => over.abort();
    // A call that takes longer than its token lives is still answered.
    entry = guard.enter(admission, end, () => request.method === 'GET' && isOpen && end());
  } catch (error) {
    if (error instanceof Refusal) return responseOf(error);
    throw error;
  }
  const { auth, leave } = entry;
  const octets = admission.body?.octets;
  // A handler that throws at once is one that rejects.
  const answered = (async () => handler(inner(request, octets, over.signal), { authInfo: auth }))();
  const ended = new Promise<void>((resolve) => over.signal.addEventListener('abort', () => resolve()));
  try {
    const response = await Promise.race([answered, ended]);
    isOpen = response?.body != null;
    if (response?.body) return new Response(untilEnded(response.body, over.signal, leave), response);
    leave();
    // What the handler still does is nobody's any more.
    if (response === undefined) answered.then((late) => late.body?.cancel()).catch(() => undefined);
    return response ?? responseOf(guard.revoked());
  } catch (error) {
    leave();
    throw error;
  }
}

function arrivalOfFetch(request: Request): Arrival {
  const url = new URL(request.url);
  const authorization = request.headers.get('authorization');
  return {
    method: request.method,
    path: url.pathname,
    query: url.searchParams,
    headers: request.headers,
    // Several are joined, and then are no token.
    authorization: authorization === null ? [] : [authorization],
    body: (limit) => bounded(request.body ?? [], limit),
  };
}

function inner(request: Request, octets: Uint8Array | undefined, over: AbortSignal): Request {
  const headers = new Headers(request.headers);
  headers.delete('authorization');
  const signal = AbortSignal.any([request.signal, over]);
  const { method, url } = request;
  return new Request(url, { method, headers, signal, ...(octets !== undefined && { body: new Uint8Array(octets) }) });
}

/** The stream, until it or the token ends. */
function untilEnded(body: ReadableStream<Uint8Array>, ended: AbortSignal, leave: () => void): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  // Whoever reads is told at once that there is no more. Not a race for each chunk: what loses one stays in memory.
  const end = () => void reader.cancel('the token has ended').catch(() => undefined);
  ended.addEventListener('abort', end, { once: true });
  if (ended.aborted) end();
  const source = {
    async pull(controller: ReadableStreamDefaultController<Uint8Array>) {
      const { value } = await reader.read().catch((error: unknown) => {
        leave();
        throw error;
      });
      if (value !== undefined) return controller.enqueue(value);
      leave();
      controller.close();
    },
    async cancel(reason: unknown) {
      leave();
      await reader.cancel(reason);
    },
  };
  // Nothing in store that would be given out after the end.
  return new ReadableStream(source, { highWaterMark: 0 });
}

const responseOf = (refusal: Refusal) =>
  new Response(refusal.text, { status: refusal.status, headers: refusal.headers });

// --- both

async function bounded(
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  limit: number,
): Promise<{ octets: Uint8Array } | undefined> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > limit) return undefined;
    chunks.push(chunk);
  }
  return { octets: Buffer.concat(chunks) };
}
