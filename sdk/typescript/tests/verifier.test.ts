/** Which access tokens are good (RFC 9068), and what the issuer is asked for. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SetupError, UnavailableError, VerifyError } from '../src/errors.js';
import type { Members } from '../src/strict.js';
import { Verifier, type VerifierOptions } from '../src/verifier.js';
import { NOW, SECRET, settings, transmitting, type Transmitter } from './kit.js';

const withVerifier = (work: (transmitter: Transmitter, verifier: Verifier) => Promise<void>, more: Partial<VerifierOptions> = {}) =>
  transmitting((transmitter) => work(transmitter, new Verifier({ ...settings(transmitter), ...more })));

const refused = (verifier: Verifier, token: string, words: RegExp) =>
  assert.rejects(verifier.verify(token), (error) => {
    assert(error instanceof VerifyError && !(error instanceof UnavailableError));
    assert.match(error.message, words);
    return true;
  });

describe('accepts', () => {
  for (const [name, kid] of [['EdDSA', 'Ed25519'], ['Ed25519', 'EdDSA']] as const) {
    it(`${name} by a key of the name ${kid}`, () =>
      withVerifier(async (transmitter, verifier) => {
        assert.equal((await verifier.verify(await transmitter.token({}, name, { kid }))).sub, 'ada');
      }));
  }
  for (const algorithm of ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519']) {
    it(algorithm, () =>
      withVerifier(async (transmitter, verifier) => {
        const act = { sub: 'sub-agent', act: { sub: 'agent' } };
        const claims = await verifier.verify(await transmitter.token({ act }, algorithm));
        assert.equal(claims.sub, 'ada');
        assert.equal(claims.caller, 'sub-agent');
        assert.deepEqual(claims.actors.map(({ sub }) => sub), ['sub-agent', 'agent']);
        assert.deepEqual(claims.scopes, ['tool:forecast']);
      }));
  }
});

describe('refuses', () => {
  const chain = Array.from({ length: 17 }).reduce<Members | undefined>(
    (act) => ({ sub: 'agent', ...(act && { act }) }),
    undefined,
  );
  const cases: Record<string, { claims?: Members; how?: string; header?: Members; words: RegExp }> = {
    'another algorithm': { how: 'RS512', words: /algorithm/ },
    'no signature': { how: 'none', words: /algorithm/ },
    'a shared secret': { how: 'HS256', words: /algorithm/ },
    'another key': { how: 'other', words: /signature/ },
    'a security event token': { header: { typ: 'secevent+jwt' }, words: /not an access token/ },
    'an ID token': { header: { typ: 'JWT' }, words: /not an access token/ },
    'an unknown key': { header: { kid: 'nobody' }, words: /no such key/ },
    'a critical header': { header: { crit: ['exp'], exp: 1 }, words: /extension/ },
    'another issuer': { claims: { iss: 'https://evil.example' }, words: /another issuer/ },
    'another resource': { claims: { aud: 'http://127.0.0.1:8000/mcp/' }, words: /another resource/ },
    expired: { claims: { exp: NOW - 30 }, words: /expired/ },
    'not yet': { claims: { iat: NOW + 31 }, words: /not valid yet/ },
    'not before': { claims: { nbf: NOW + 31 }, words: /not valid yet/ },
    'bound to a key': { claims: { cnf: { jkt: 'x' } }, words: /bound to a key/ },
    'no jti': { claims: { jti: null }, words: /malformed/ },
    'no client': { claims: { client_id: null }, words: /malformed/ },
    'no subject': { claims: { sub: '' }, words: /malformed/ },
    'no audience': { claims: { aud: [] }, words: /malformed/ },
    'exp a text': { claims: { exp: 'never' }, words: /malformed/ },
    'exp in milliseconds': { claims: { exp: NOW * 1000 }, words: /malformed/ },
    'a scope list': { claims: { scope: ['tool:forecast'] }, words: /malformed/ },
    'an actor without a name': { claims: { act: { iss: 'x' } }, words: /malformed/ },
    'a long chain of actors': { claims: { act: chain }, words: /malformed/ },
    'a grant that is no text': { claims: { grant_id: 7 }, words: /malformed/ },
  };
  for (const [name, { claims, how, header, words }] of Object.entries(cases)) {
    it(name, () =>
      withVerifier(async (transmitter, verifier) =>
        refused(verifier, await transmitter.token(claims, how, header), words)));
  }
  for (const token of ['', 'a.b', 'a.b.c.d', 'a.b.', 'é.b.c', 'e30.e30.e30=', 'e30.e30.e30\n', 'W10.e30.e30']) {
    it(`what is no JWS: ${JSON.stringify(token)}`, () => withVerifier((_, verifier) => refused(verifier, token, /./)));
  }
});

describe('keys', () => {
  it('unknown ones cause few fetches', () =>
    withVerifier(async (transmitter, verifier) => {
      const unknown = await transmitter.token({}, 'RS256', { kid: 'nobody' });
      await verifier.verify(await transmitter.token());
      await Promise.all([1, 2, 3].map(() => refused(verifier, unknown, /no such key/)));
      assert.equal(transmitter.count('GET jwks'), 1, 'the floor of ten seconds');
      transmitter.clock.now += 10;
      await Promise.all([1, 2, 3].map(() => refused(verifier, unknown, /no such key/)));
      assert.equal(transmitter.count('GET jwks'), 2, 'shared');
    }));

  it('outlive an outage', () =>
    withVerifier(async (transmitter, verifier) => {
      await verifier.verify(await transmitter.token());
      transmitter.down.add('jwks');
      transmitter.clock.now += 301;
      assert.equal((await verifier.verify(await transmitter.token())).sub, 'ada');
      transmitter.clock.now += 10;
      const unknown = await transmitter.token({}, 'RS256', { kid: 'made-meanwhile' });
      await assert.rejects(verifier.verify(unknown), UnavailableError);
      transmitter.clock.now += 24 * 3600;
      await assert.rejects(verifier.verify(await transmitter.token()), UnavailableError);
    }));

  it('none at all', () =>
    withVerifier(async (transmitter, verifier) => {
      transmitter.down.add('jwks');
      await assert.rejects(verifier.loadKeys(), UnavailableError);
      transmitter.down.clear();
      transmitter.clock.now += 1;
      await verifier.loadKeys();
    }));

  it('metadata of another issuer is not believed', () =>
    transmitting(async (transmitter) => {
      const verifier = new Verifier({ ...settings(transmitter), issuer: `${transmitter.issuer}/` });
      await assert.rejects(verifier.loadKeys(), UnavailableError);
    }));
});

it('introspection', () =>
  withVerifier(
    async (transmitter, verifier) => {
      const token = await transmitter.token({ jti: 'asked-about' });
      assert.deepEqual((await verifier.verify(token)).scopes, ['tool:forecast']);
      transmitter.inactive.add('asked-about');
      await refused(verifier, token, /revoked/);
      transmitter.down.add('introspect');
      await assert.rejects(verifier.verify(token), UnavailableError);
      assert.equal(transmitter.count('POST introspect'), 3);
    },
    { introspect: { clientId: 'weather', clientSecret: SECRET } },
  ));

it('settings that cannot be', () => {
  const wrong: Partial<VerifierOptions>[] = [
    { resource: 'http://mcp.example/mcp' }, { resource: 'mcp.example' }, { resource: 'https://mcp.example/#a' },
    { resource: 'https://mcp.example/"' }, { resource: 'https://me@mcp.example/' },
    { resource: 'https://mcp.example/?a' }, { issuer: 'http://auth.example' }, { issuer: 'https://auth.example?a' },
    { algorithms: ['HS256'] }, { algorithms: [] }, { jwksUri: 'http://auth.example/jwks' },
  ];
  for (const changes of wrong) {
    const options = { resource: 'https://mcp.example/mcp', issuer: 'https://auth.example', ...changes };
    assert.throws(() => new Verifier(options), SetupError, JSON.stringify(changes));
  }
});
