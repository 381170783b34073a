// FAPI 2.0's security profile with openid-client: pushed requests, DPoP, private_key_jwt, PKCE; and what it forbids.

import { createPrivateKey, randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import * as openid from 'openid-client';
import { claims, Judge, scene } from './judging.mjs';
import { visit } from './people/agent.mjs';

const judge = new Judge('fapi2');
const stage = scene();
const client = 'fapi-app';
const redirectUri = 'http://127.0.0.1:9/callback'; // nobody listens: the user agent stops before it
const resource = stage.resources.files.resource;
const jwk = stage.keys.ES256;
const key = {
  key: await crypto.subtle.importKey('jwk', { ...jwk, alg: undefined }, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign']),
  kid: jwk.kid,
};
const configuration = await openid.discovery(new URL(stage.issuer), client, undefined, openid.PrivateKeyJwt(key), {
  execute: [openid.allowInsecureRequests],
});
const server = configuration.serverMetadata();
const proving = async () => openid.getDPoPHandle(configuration, await openid.randomDPoPKeyPair('ES256'));

async function authorize(DPoP, more = {}) {
  const pkceCodeVerifier = openid.randomPKCECodeVerifier();
  const expectedState = openid.randomState();
  const expectedNonce = openid.randomNonce();
  const parameters = {
    redirect_uri: redirectUri,
    scope: 'openid email offline_access tool:read_file',
    resource,
    code_challenge: await openid.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
    state: expectedState,
    nonce: expectedNonce,
    ...more,
  };
  const url = await openid.buildAuthorizationUrlWithPAR(configuration, parameters, { DPoP });
  const answer = await visit(url);
  return { url, answer, checks: { pkceCodeVerifier, expectedState, expectedNonce } };
}

const code = async (error) => error.error ?? (await error.response?.clone().json().catch(() => undefined))?.error;
const refusedWith = (...codes) => async (error) => codes.includes(await code(error));

// --- what it is for
const DPoP = await proving();
const begun = await judge.accepted('a pushed request is answered by the person', () => authorize(DPoP));
if (!begun) judge.finish();
judge.equal('the URL holds the client and the reference alone', [...begun.url.searchParams.keys()].sort(), ['client_id', 'request_uri']);
judge.equal('the answer names the issuer', begun.answer.searchParams.get('iss'), stage.issuer);
const granted = await judge.accepted('the code is redeemed with a proof',
  () => openid.authorizationCodeGrant(configuration, begun.answer, begun.checks, undefined, { DPoP }));
if (!granted) judge.finish();
const thumbprint = await DPoP.calculateThumbprint();
judge.equal('the access token is bound to the key', [granted.token_type.toLowerCase(), claims(granted.access_token).cnf?.jkt],
  ['dpop', thumbprint]);
judge.equal('it is for the resource, with the scope', [claims(granted.access_token).aud].flat().includes(resource)
  && claims(granted.access_token).scope.includes('tool:read_file'), true);
judge.equal('the ID token is for the client', granted.claims().aud, client);
const again = await judge.accepted('it is refreshed with a proof', () =>
  openid.refreshTokenGrant(configuration, granted.refresh_token, { resource }, { DPoP }));
judge.equal('and the new one is bound as well', claims(again.access_token).cnf?.jkt, thumbprint);
judge.check('the refresh token stays (FAPI 2.0 §5.3.2.1)', !again.refresh_token || again.refresh_token === granted.refresh_token);
const twice = await judge.accepted('once more with the same refresh token', () =>
  openid.refreshTokenGrant(configuration, granted.refresh_token, { resource }, { DPoP }));
judge.equal('with the same scope', twice?.scope, granted.scope);
const other = await proving();
// RFC 9449 §5: a confidential client's refresh token is bound to the client, and not to a key.
const moved = await judge.accepted('with another key', () =>
  openid.refreshTokenGrant(configuration, granted.refresh_token, { resource }, { DPoP: other }));
judge.equal('which the new token is bound to', claims(moved.access_token).cnf?.jkt, await other.calculateThumbprint());

// --- userinfo, with a token that is for nothing else
const alone = await authorize(DPoP, { scope: 'openid email', resource: [] });
const who = await openid.authorizationCodeGrant(configuration, alone.answer, alone.checks, undefined, { DPoP });
const userinfo = await judge.accepted('userinfo takes the token with a proof',
  () => openid.fetchUserInfo(configuration, who.access_token, who.claims().sub, { DPoP }));
judge.equal('and tells who it is', userinfo?.email, stage.people.alice.email);
const status = async (headers) => (await fetch(server.userinfo_endpoint, { headers })).status;
judge.equal('as a bearer token it is worth nothing', await status({ authorization: `Bearer ${who.access_token}` }), 401);
judge.equal('nor without a proof', await status({ authorization: `DPoP ${who.access_token}` }), 401);

// --- what it forbids
console.log('-- what has to be refused');
await judge.refused('a refresh without a proof', () =>
  openid.refreshTokenGrant(configuration, granted.refresh_token, { resource }), refusedWith('invalid_dpop_proof', 'invalid_request', 'invalid_grant'));

const second = await authorize(DPoP);
await judge.refused('a code with another key', () =>
  openid.authorizationCodeGrant(configuration, second.answer, second.checks, undefined, { DPoP: other }), refusedWith('invalid_grant', 'invalid_dpop_proof'));
const third = await authorize(DPoP);
await judge.refused('a code without a proof', () =>
  openid.authorizationCodeGrant(configuration, third.answer, third.checks), refusedWith('invalid_dpop_proof', 'invalid_request', 'invalid_grant'));
const fourth = await authorize(DPoP);
await openid.authorizationCodeGrant(configuration, fourth.answer, fourth.checks, undefined, { DPoP });
await judge.refused('a code twice', () =>
  openid.authorizationCodeGrant(configuration, fourth.answer, fourth.checks, undefined, { DPoP }), refusedWith('invalid_grant'));
await judge.refused('a pushed request twice', () => visit(fourth.url), (error) => /400 invalid_request/.test(error.message));

const plain = new URL(server.authorization_endpoint);
plain.search = new URLSearchParams({
  client_id: client, response_type: 'code', redirect_uri: redirectUri, scope: 'openid', state: 's',
  code_challenge: await openid.calculatePKCECodeChallenge(openid.randomPKCECodeVerifier()), code_challenge_method: 'S256',
});
await judge.refused('a request that was not pushed', async () => {
  const answer = await visit(plain);
  throw Object.assign(new Error(`${answer}`), { error: answer.searchParams.get('error') });
}, async (error) => (await code(error)) === 'invalid_request' || /400 invalid_request/.test(error.message));

/** Pushes a request with an assertion of our own making; status and error. */
async function push(about, algorithm = 'ES256', parameters = {}) {
  const now = Math.floor(Date.now() / 1000);
  const assertion = await new SignJWT({ iss: client, sub: client, iat: now, exp: now + 60, jti: randomUUID(), ...about })
    .setProtectedHeader({ alg: algorithm, kid: stage.keys[algorithm].kid })
    .sign(createPrivateKey({ key: stage.keys[algorithm], format: 'jwk' }));
  const answer = await fetch(server.pushed_authorization_request_endpoint, {
    method: 'POST',
    body: new URLSearchParams({
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer', client_assertion: assertion,
      ...Object.fromEntries(plain.searchParams), ...parameters,
    }),
  });
  return [answer.status, (await answer.json()).error];
}
judge.equal('an assertion for the issuer is accepted (so the refusals mean something)', await push({ aud: stage.issuer }), [201, undefined]);
judge.equal('one for a list of audiences is not', await push({ aud: [stage.issuer] }), [401, 'invalid_client']);
judge.equal('nor one for the token endpoint', await push({ aud: server.token_endpoint }), [401, 'invalid_client']);
judge.equal('nor one for the PAR endpoint', await push({ aud: server.pushed_authorization_request_endpoint }), [401, 'invalid_client']);
judge.equal('nor one with RS256', await push({ aud: stage.issuer }, 'RS256'), [401, 'invalid_client']);
judge.equal('one with PS256 is', await push({ aud: stage.issuer }, 'PS256'), [201, undefined]);
judge.equal('a request without PKCE is not', await push({ aud: stage.issuer }, 'ES256', { code_challenge: '', code_challenge_method: '' }), [400, 'invalid_request']);
judge.equal('nor one with a redirect URI of somebody else', (await push({ aud: stage.issuer }, 'ES256', { redirect_uri: 'https://evil.example/' }))[0], 400);
judge.finish();
