/** What tokens are worth after SETs, and which SETs are believed: the vectors that all SDKs share. */

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { UnavailableError, VerifyError } from '../src/errors.js';
import type { Members } from '../src/strict.js';
import { Verifier } from '../src/verifier.js';
import { beat, laid, NOW, RESOURCE, settings, sign, transmitting, vectors, type Transmitter } from './kit.js';

let transmitter: Transmitter;
let finish: () => void;
let finished: Promise<void>;

before(
  () =>
    new Promise<void>((ready) => {
      const end = new Promise<void>((resolve) => (finish = resolve));
      finished = transmitting((started) => {
        transmitter = started;
        ready();
        return end;
      });
    }),
);
after(() => {
  finish();
  return finished;
});

/** A vector with the test's own names in it. */
const filled = (vector: unknown): Members => {
  const text = JSON.stringify(vector).replaceAll('$issuer', transmitter.issuer).replaceAll('$resource', RESOURCE);
  return JSON.parse(text.replaceAll('$es256', 'ES256')) as Members;
};

async function live(memory = 100): Promise<Verifier> {
  transmitter.clock.now = NOW;
  const verifier = new Verifier(settings(transmitter, { memory }));
  await beat(transmitter, verifier);
  assert.equal(verifier.receiver?.status().live, true);
  return verifier;
}

async function worth(verifier: Verifier, token: string): Promise<unknown> {
  try {
    return (await verifier.verify(token)).scopes;
  } catch (error) {
    if (error instanceof UnavailableError) return 'unknown';
    assert(error instanceof VerifyError);
    assert.equal(error.message, 'the token has been revoked');
    return 'denied';
  }
}

describe('denials', () => {
  const all = vectors('denials.json');
  assert.equal(all['now'], NOW);
  assert.equal(all['token_lifetime'], 600);
  for (const raw of all['cases'] as Members[]) {
    it(raw['name'] as string, async () => {
      const [vector, defaults] = [filled(raw), filled(all)];
      const verifier = await live((vector['memory'] ?? all['memory']) as number);
      assert(verifier.receiver);
      verifier.receiver.critical = (vector['critical'] ?? []) as string[];
      for (const [number, { wait = 0, type, event, ...said }] of (vector['sets'] as Members[]).entries()) {
        transmitter.clock.now += wait as number;
        const [family, name] = (type as string).split('/');
        const events = { [`https://schemas.openid.net/secevent/${family}/event-type/${name}`]: event };
        const base = { ...(defaults['set'] as Members), jti: `vector-${number}`, events };
        await verifier.receiver.accept(await sign({ typ: 'secevent+jwt' }, laid(said, base)));
      }
      transmitter.clock.now += (vector['later'] ?? 0) as number;
      await beat(transmitter, verifier);
      const claims = laid(vector['token'], defaults['token'] as Members);
      const outcome = await worth(verifier, await sign({ typ: 'at+jwt' }, claims));
      const words = (text: unknown) => (text as string).split(' ').filter(Boolean);
      const { expect, scope = '' } = vector;
      const expected = { allowed: words(claims['scope']), narrowed: words(scope) }[expect as string];
      assert.deepEqual(outcome, expected ?? expect);
    });
  }
});

describe('SETs', () => {
  const all = vectors('sets.json');
  assert.equal(all['now'], NOW);
  for (const raw of all['cases'] as Members[]) {
    it(raw['name'] as string, async () => {
      const verifier = await live();
      const { receiver } = verifier;
      assert(receiver);
      const [vector, base] = [filled(raw), filled(all)];
      const known = () => ({ ...receiver.status(), age: undefined });
      const before = known();
      const token = await made(vector, base);
      const error = await receiver.push(receiver.pushSecret, 'application/secevent+jwt', token);
      assert.equal(error?.err ?? null, vector['err']);
      if (error === undefined) return;
      assert.notEqual(error.description, '');
      assert.deepEqual(known(), before, 'a refused SET changes nothing');
      await assert.rejects(receiver.accept(token));
    });
  }
});

async function made(vector: Members, base: Members): Promise<string> {
  if (typeof vector['raw'] === 'string') return vector['raw'];
  const claims = laid(vector['claims'], { ...(base['claims'] as Members), jti: 'vector' });
  const header = laid(vector['header'], base['header'] as Members);
  const how = (vector['sign'] ?? 'RS256') as string;
  if (typeof vector['size'] === 'number') {
    const short = (await sign(header, { ...claims, padding: '' }, how)).length;
    claims['padding'] = 'x'.repeat(Math.floor(((vector['size'] - short) * 3) / 4));
  }
  let token = await sign(header, claims, how);
  if (vector['tamper']) {
    const [head, , signature] = token.split('.');
    const payload = Buffer.from(JSON.stringify({ ...claims, txn: 'another' })).toString('base64url');
    token = `${head}.${payload}.${signature}`;
  }
  if (vector['cut']) token = token.slice(0, token.lastIndexOf('.') + 1);
  return token + ((vector['suffix'] ?? '') as string);
}
