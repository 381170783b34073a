/** What a request must show before the MCP server sees it, under express and as `Request`. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import express from 'express';
import type { AuthInfo, ProtectOptions } from '../src/guard.js';
import { protect, SetupError, toolScope, type Events, type Protection } from '../src/index.js';
import { NOW, RESOURCE, SECRET, serving, settings, transmitting, type Transmitter } from './kit.js';

const CHALLENGE = 'resource_metadata="http://127.0.0.1:8000/.well-known/oauth-protected-resource/mcp"';
const CALL = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'forecast' } };

interface Told {
  body: typeof CALL;
  headers: string[];
  caller: string;
}

interface Stage {
  transmitter: Transmitter;
  guard: Protection;
  send: (path: string, init?: RequestInit) => Promise<Response>;
  post: (body?: unknown, headers?: Record<string, string>, token?: string) => Promise<Response>;
}

const tell = (body: unknown, headers: Iterable<string>, { clientId }: AuthInfo) =>
  JSON.stringify({ body, headers: [...headers], caller: clientId });

type Handler = () => Response | Promise<Response>;

/** Both ways to use it. `handler` answers in place of telling what it was given. */
type Way = (guard: Protection, handler: Handler | undefined, work: (send: Stage['send']) => Promise<void>) => Promise<void>;

const ways: Record<string, Way> = {
  express: (guard, handler, work) => {
    const app = express();
    app.use(guard);
    app.use(express.json());
    app.use(async (request, response) => {
      const { auth } = request as unknown as { auth: AuthInfo };
      if (handler === undefined) return void response.end(tell(request.body, Object.keys(request.headers), auth));
      const { body } = await handler();
      response.flushHeaders();
      for await (const chunk of body ?? []) response.write(chunk);
      response.end();
    });
    return serving(app, (origin) => work((path, init) => fetch(origin + path, init)));
  },
  'express after a body parser': (guard, _, work) =>
    serving(
      express().use(express.json(), guard, (request, response) => {
        response.end(tell(request.body, Object.keys(request.headers), (request as unknown as { auth: AuthInfo }).auth));
      }),
      (origin) => work((path, init) => fetch(origin + path, init)),
    ),
  fetch: (guard, handler, work) => {
    const protectedHandler = guard.fetch(async (request, { authInfo }) => {
      if (handler !== undefined) return handler();
      const text = await request.text();
      return new Response(tell(text ? JSON.parse(text) : undefined, request.headers.keys(), authInfo));
    });
    return work((path, init) => protectedHandler(new Request(`http://127.0.0.1:8000${path}`, init)));
  },
};

const staged = (
  way: string,
  work: (stage: Stage) => Promise<void>,
  { events, handler, ...options }: Partial<Omit<ProtectOptions, 'events'>> & { events?: Partial<Events>; handler?: Handler } = {},
) =>
  transmitting(async (transmitter) => {
    const guard = protect({ tools: ['forecast', 'alert'], ...settings(transmitter, events), ...options });
    await guard.close(); // revocations are brought by the tests themselves
    const token = await transmitter.token();
    await ways[way]?.(guard, handler, (send) => {
      const post: Stage['post'] = (body = CALL, headers = {}, bearer = token) =>
        send('/mcp', {
          method: 'POST',
          headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json', ...headers },
          body: typeof body === 'string' || body instanceof Uint8Array ? (body as string) : JSON.stringify(body),
        });
      return work({ transmitter, guard, send, post });
    });
  });

for (const way of Object.keys(ways)) {
  describe(way, () => {
    it('passes on without the token', () =>
      staged(way, async ({ post }) => {
        const answer = await post();
        assert.equal(answer.status, 200);
        const told = (await answer.json()) as Told;
        assert.deepEqual(told.body, CALL);
        assert(!told.headers.includes('authorization'));
        assert.equal(told.caller, 'agent');
      }));

    it('no token', () =>
      staged(way, async ({ send }) => {
        const answer = await send('/mcp', { method: 'POST' });
        assert.equal(answer.status, 401);
        assert.equal(answer.headers.get('www-authenticate'), `Bearer scope="tool:alert tool:forecast", ${CHALLENGE}`);
        assert.equal(answer.headers.get('cache-control'), 'no-store');
      }));

    it('bad token', () =>
      staged(way, async ({ transmitter, post }) => {
        const answer = await post(CALL, {}, await transmitter.token({ exp: NOW - 60 }));
        assert.equal(answer.status, 401);
        const challenge = answer.headers.get('www-authenticate') ?? '';
        assert(challenge.startsWith('Bearer error="invalid_token", error_description="the token has expired", scope='));
        assert(challenge.endsWith(CHALLENGE));
      }));

    it('insufficient scope', () =>
      staged(way, async ({ post }) => {
        const batch = ['forecast', 'alert', 'two words'].map((name, id) => ({ ...CALL, id, params: { name } }));
        const answer = await post(batch);
        assert.equal(answer.status, 403);
        const scope = 'tool:alert tool:forecast tool:two%20words';
        assert.match(answer.headers.get('www-authenticate') ?? '', /^Bearer error="insufficient_scope"/);
        assert(answer.headers.get('www-authenticate')?.endsWith(`scope="${scope}", ${CHALLENGE}`));
        assert.equal(((await answer.json()) as { scope: string }).scope, scope);
      }));

    it('keys that cannot be fetched', () =>
      staged(way, async ({ transmitter, post }) => {
        transmitter.down.add('jwks');
        const answer = await post();
        assert.equal(answer.status, 503);
        assert.equal(answer.headers.get('retry-after'), '2');
        assert.equal(answer.headers.get('www-authenticate'), null);
      }));

    it('where the token may be', () =>
      staged(way, async ({ transmitter, send }) => {
        const status = async (path: string, authorization: string, method = 'GET') =>
          (await send(path, { method, headers: { authorization } })).status;
        const token = await transmitter.token();
        assert.equal(await status('/mcp?access_token=x', `Bearer ${token}`), 400);
        assert.equal(await status('/mcp', 'Bearer '), 400);
        assert.equal(await status('/mcp', 'Basic eDp5'), 401);
        assert.equal(await status('/mcp', `bearer ${token}`), 200);
        assert.equal(await status('/mcp', `Bearer ${token}`, 'DELETE'), 200);
      }));

    it('bodies that are not read', () =>
      staged(way, async ({ post }) => {
        if (way !== 'express after a body parser') {
          assert.equal((await post(CALL, { 'content-encoding': 'gzip' })).status, 415);
          assert.equal((await post('{}', { 'content-type': 'application/json; charset=utf-16' })).status, 415);
          assert.equal((await post(' '.repeat(4 * 1024 * 1024 + 1))).status, 413);
        }
        assert.equal((await post('a=b', { 'content-type': 'application/x-www-form-urlencoded' })).status, 400);
      }));

    const messages: Record<string, [unknown, number]> = {
      'a number': ['[7]', -32600],
      'an empty batch': ['[]', -32600],
      'a long batch': [Array.from({ length: 65 }, () => ({ method: 'ping' })), -32600],
      'another letter case': [{ Method: 'tools/call', method: 'ping' }, -32600],
      'another letter case below': [{ method: 'tools/call', params: { name: 'a', Name: 'b' } }, -32600],
      'a method that may be folded': [{ method: 'Tools/Call', params: { name: 'alert' } }, -32600],
      'a method that may be trimmed': [{ method: ' tools/call', params: { name: 'alert' } }, -32600],
      'a method that is a number': [{ method: 7 }, -32600],
      'no method': [{ id: 1 }, -32600],
      both: [{ method: 'ping', result: {} }, -32600],
      'no tool': [{ method: 'tools/call' }, -32600],
      'a tool by position': [{ method: 'tools/call', params: ['alert'] }, -32600],
      'params a text': [{ method: 'tools/call', params: 'alert' }, -32600],
      'a long name': [{ method: 'tools/call', params: { name: 'x'.repeat(129) } }, -32600],
      'half a character': ['{"method":"tools/call","params":{"name":"\\ud800"}}', -32600],
      ...(way !== 'express after a body parser' && {
        'not JSON': ['{', -32700],
        'not UTF-8': [new Uint8Array([0x22, 0xff, 0x22]), -32700],
        nested: ['['.repeat(100_000), -32700],
        'a repeated member': ['{"method":"ping","method":"tools/call"}', -32600],
        'a repeated member, escaped': ['{"method":"ping","\\u006dethod":"tools/call"}', -32600],
        'a repeated member below': ['{"method":"tools/call","params":{"name":"a","x":[{}],"name":"b"}}', -32600],
      }),
    };
    for (const [name, [body, code]] of Object.entries(messages)) {
      it(`message: ${name}`, () =>
        staged(way, async ({ post }) => {
          const answer = await post(body);
          assert.equal(answer.status, 400);
          assert.equal(((await answer.json()) as { error: { code: number } }).error.code, code);
        }));
    }

    it('names that two objects share are no repetition', () =>
      staged(way, async ({ post }) => {
        const body = '{"method":"ping","params":{"a":{"x":"}{,"},"b":{"x":[1,"x"]}},"id":"a,b"}';
        assert.equal((await post(body)).status, 200);
      }));

    it('headers that repeat the body', () =>
      staged(way, async ({ post }) => {
        const name = '=?base64?Zm9yZWNhc3Q=?=';
        assert.equal((await post(CALL, { 'mcp-method': 'tools/call', 'mcp-name': name })).status, 200);
        for (const headers of [{ 'mcp-method': 'tools/list' }, { 'mcp-name': 'alert' }, { 'mcp-name': '=?base64?%?=' }]) {
          assert.equal((await post(CALL, headers as unknown as Record<string, string>)).status, 400);
        }
      }));

    it('policy', () =>
      staged(
        way,
        async ({ transmitter, post, send }) => {
          const needs = async (body: unknown) => ((await (await post(body)).json()) as { scope: string }).scope;
          assert.equal(await needs(CALL), 'weather:read');
          assert.equal(await needs({ method: 'resources/read', params: { uri: 'a:b' } }), 'docs:read');
          assert.equal((await post(CALL, {}, await transmitter.token({ scope: 'everything' }))).status, 200);
          assert.equal((await post({ method: 'tools/list' })).status, 200);
          const bare = await send('/mcp', { method: 'POST' });
          assert.equal(bare.headers.get('www-authenticate'), `Bearer ${CHALLENGE}`);
        },
        {
          tools: { forecast: 'weather:read' }, methods: { 'resources/read': 'docs:read' }, challengeScopes: [],
          scopeIncludes: { 'weather:all': ['weather:read'], everything: ['weather:all'] },
        },
      ));

    it('metadata', () =>
      staged(way, async ({ transmitter, send }) => {
        for (const path of ['/.well-known/oauth-protected-resource/mcp', '/.well-known/oauth-protected-resource']) {
          const answer = await send(path);
          assert.deepEqual(await answer.json(), {
            resource: RESOURCE, authorization_servers: [transmitter.issuer], bearer_methods_supported: ['header'],
            scopes_supported: ['tool:alert', 'tool:forecast'],
          });
          assert.equal(answer.headers.get('access-control-allow-origin'), '*');
          assert.equal((await send(path, { method: 'OPTIONS' })).status, 204);
          assert.equal((await send(path, { method: 'POST' })).status, 405);
        }
      }));

    it('pushed SETs', () =>
      staged(
        way,
        async ({ transmitter, guard, send, post }) => {
          const { receiver } = guard.verifier;
          assert(receiver);
          const [, token] = await transmitter.set('caep/session-revoked', transmitter.user());
          const good = { authorization: receiver.pushSecret, 'content-type': 'application/secevent+jwt' };
          const push = (headers: Record<string, string> = {}, body = token) =>
            send('/.writ/events', { method: 'POST', headers: { ...good, ...headers }, body });
          const err = async (answer: Response) => {
            assert.equal(answer.status, 400);
            assert.equal(answer.headers.get('content-language'), 'en');
            return ((await answer.json()) as { err: string }).err;
          };
          assert.equal(await err(await push({ authorization: 'Bearer wrong' })), 'authentication_failed');
          assert.equal(await err(await push({ authorization: '' })), 'authentication_failed');
          assert.equal(await err(await push({ 'content-type': 'application/jwt' })), 'invalid_request');
          assert.equal(await err(await push({}, 'x'.repeat(65_537))), 'invalid_request');
          transmitter.down.add('jwks');
          assert.equal((await push()).status, 503);
          transmitter.down.clear();
          transmitter.clock.now += 1;
          assert.equal(guard.status()?.markers, 0);
          for (let times = 0; times < 2; times++) {
            const answer = await push(); // RFC 8935 §2: a repetition is answered as if it were new
            assert.deepEqual([answer.status, await answer.text()], [202, '']);
          }
          assert.equal(guard.status()?.markers, 1);
          assert.equal((await post()).status, 401);
          assert.equal((await send('/.writ/events')).status, 405);
        },
        { events: { delivery: { push: '/.writ/events' } } },
      ));

    /** The answer to a call whose last octet comes after `meanwhile`. */
    const slowPost = (send: Stage['send'], token: string, meanwhile: () => unknown) => {
      const text = JSON.stringify(CALL);
      async function* octets() {
        yield Buffer.from(text.slice(0, -1));
        await meanwhile();
        yield Buffer.from(text.slice(-1));
      }
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
      const body = ReadableStream.from(octets()) as ReadableStream<Uint8Array>;
      return send('/mcp', { method: 'POST', headers, body, duplex: 'half' } as RequestInit);
    };

    it('a token that ends while the body is sent', () =>
      staged(way, async ({ transmitter, send }) => {
        const token = await transmitter.token();
        assert.equal((await slowPost(send, token, () => undefined)).status, 200);
        const answer = await slowPost(send, token, () => (transmitter.clock.now += 400));
        assert.equal(answer.status, 401);
        assert.equal(((await answer.json()) as { error_description: string }).error_description, 'the token has expired');
      }));

    const changes: [string, Record<string, unknown>, number][] = [
      ['session-revoked', {}, 401],
      ['token-claims-change', { claims: { scope: 'tool:alert' } }, 403],
    ];
    for (const [kind, event, status] of changes) {
      it(`${kind} while the body is sent`, () =>
        staged(
          way,
          async ({ transmitter, guard, send }) => {
            const [, change] = await transmitter.set(`caep/${kind}`, transmitter.user(), event);
            const revoke = () => guard.verifier.receiver?.accept(change);
            assert.equal((await slowPost(send, await transmitter.token(), revoke)).status, status);
          },
          { events: { whenStale: 'introspect' } },
        ));
    }

    it('who is asked about each token is asked again after a slow body', () =>
      staged(
        way,
        async ({ transmitter, send }) => {
          const token = await transmitter.token({ jti: 'revoked-meanwhile' });
          const revoke = async () => {
            transmitter.inactive.add('revoked-meanwhile');
            await pause(1100);
          };
          assert.equal((await slowPost(send, token, revoke)).status, 401);
        },
        { introspect: { clientId: 'weather', clientSecret: SECRET } },
      ));

    const isCovered = way === 'express after a body parser'; // it is the same as express there
    if (isCovered) return;

    /** An answer that never ends; when it has begun, and whether it was cancelled. */
    const endless = () => {
      let begin: () => void;
      const begun = new Promise<void>((resolve) => (begin = resolve));
      const told = { begun, isCancelled: false };
      const handler = () =>
        new Response(
          new ReadableStream({
            start(controller) {
              controller.enqueue(new TextEncoder().encode('data: 1\n\n'));
              begin();
            },
            cancel: () => void (told.isCancelled = true),
          }),
        );
      return { told, handler };
    };

    it('what is being answered ends with its token', () => {
      const { told, handler } = endless();
      return staged(
        way,
        async ({ transmitter, guard, post }) => {
          const answer = await post();
          const reading = answer.text().catch(() => 'cut');
          await told.begun;
          const revoke = async (sub: string) => {
            const [, token] = await transmitter.set('caep/session-revoked', transmitter.user(sub));
            await guard.verifier.receiver?.accept(token);
          };
          await revoke('somebody else');
          await revoke('ada');
          assert.equal(await reading, way === 'fetch' ? 'data: 1\n\n' : 'cut');
          if (way === 'fetch') assert(told.isCancelled);
          assert.equal((await post()).status, 401);
        },
        { events: { whenStale: 'introspect' }, handler },
      );
    });

    it('a call that outlives its token is answered', () =>
      staged(
        way,
        async ({ transmitter, post }) => {
          const answer = await post(CALL, {}, await transmitter.token({ exp: NOW + 1 }));
          assert.equal(await answer.text(), 'done');
        },
        {
          leeway: 0,
          handler: async () => {
            await pause(1100);
            return new Response('done');
          },
        },
      ));

    it('an open answer ends when its token expires', () => {
      const { told, handler } = endless();
      return staged(
        way,
        async ({ transmitter, send }) => {
          const bearer = await transmitter.token({ exp: NOW + 1 });
          const answer = await send('/mcp', { headers: { authorization: `Bearer ${bearer}` } });
          assert.equal(await answer.text().catch(() => 'cut'), way === 'fetch' ? 'data: 1\n\n' : 'cut');
          if (way === 'fetch') assert(told.isCancelled);
        },
        { leeway: 0, handler },
      );
    });
  });
}

it('an answer keeps nothing of what it has given out', () =>
  staged('express', async ({ transmitter, guard }) => {
    const given: WeakRef<Uint8Array>[] = [];
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        const chunk = new Uint8Array(64 * 1024);
        given.push(new WeakRef(chunk));
        controller.enqueue(chunk);
      },
    });
    const serve = guard.fetch(() => new Response(endless));
    const headers = { authorization: `Bearer ${await transmitter.token()}` };
    const { body } = await serve(new Request(RESOURCE, { headers }));
    assert(body);
    const reader = body.getReader();
    for (let read = 0; read < 100; read++) await reader.read();
    setFlagsFromString('--expose-gc');
    for (let times = 0; times < 3; times++) {
      await pause(10);
      (runInNewContext('gc') as () => void)();
    }
    const kept = given.filter((chunk) => chunk.deref() !== undefined);
    assert(kept.length < 10, `${kept.length} of ${given.length}`);
    await reader.cancel();
  }));

it('what has ended is not watched for: a handler that throws', () =>
  staged(
    'express',
    async ({ transmitter, guard }) => {
      let signal: AbortSignal | undefined;
      const serve = guard.fetch((request) => {
        signal = request.signal;
        throw new Error("the author's");
      });
      const headers = { authorization: `Bearer ${await transmitter.token()}` };
      await assert.rejects(serve(new Request(RESOURCE, { headers })), /the author's/);
      const [, revocation] = await transmitter.set('caep/session-revoked', transmitter.user());
      await guard.verifier.receiver?.accept(revocation);
      assert.equal(signal?.aborted, false);
    },
    { events: { whenStale: 'introspect' } },
  ));

it('what has ended is not watched for: a connection that was closed meanwhile', () =>
  staged(
    'express',
    async ({ transmitter, guard }) => {
      let passed = 0;
      let closed: Promise<unknown> | undefined;
      const settled: Promise<unknown>[] = [];
      const listener = (request: IncomingMessage, response: ServerResponse) => {
        closed = once(response, 'close');
        guard(request, response, () => passed++);
      };
      await serving(listener, async (origin) => {
        const left = new AbortController();
        transmitter.meanwhile = async () => {
          left.abort();
          settled.push(closed ?? Promise.reject(new Error('nobody is there')));
          await closed;
        };
        const headers = { authorization: `Bearer ${await transmitter.token()}` };
        await assert.rejects(fetch(`${origin}/mcp`, { headers, signal: left.signal }));
        await transmitter.until(() => settled.length === 1);
        await Promise.all(settled);
        await pause(50);
        assert.equal(passed, 0);
      });
    },
    { events: { whenStale: 'introspect' } },
  ));

it('scopes', () => {
  assert.equal(toolScope('día 100%'), 'tool:d%C3%ADa%20100%25');
  for (const scope of ['offline_access', 'a b', '', 'a"b', 'é']) {
    assert.throws(() => protect({ resource: RESOURCE, issuer: 'https://auth.example', scopes: [scope] }), SetupError);
  }
});

it('two Authorization headers', () =>
  staged('express', async ({ transmitter, guard }) => {
    const { request } = await import('node:http');
    const token = `Bearer ${await transmitter.token()}`;
    await serving(express().use(guard), async (origin) => {
      const status = await new Promise<number | undefined>((resolve, reject) => {
        const sent = request(`${origin}/mcp`, { headers: ['authorization', token, 'authorization', token, 'host', 'x'] });
        sent.once('response', (response) => resolve(response.resume().statusCode)).once('error', reject).end();
      });
      assert.equal(status, 400);
    });
  }));

