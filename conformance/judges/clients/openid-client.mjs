// openid-client as token client, the way an application uses it: from discovery or registration to the grant.

import * as openid from 'openid-client';
import { claims, Judge, scene } from '../judging.mjs';

const judge = new Judge('openid-client');
const stage = scene();
const options = { execute: [openid.allowInsecureRequests] };
const resource = stage.resources.weather.resource;
const ask = { resource, scope: 'tool:forecast' };

const key = async (jwk) => ({
  key: await crypto.subtle.importKey('jwk', { ...jwk, alg: undefined }, jwk.alg === 'EdDSA' ? 'Ed25519' : { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign']),
  kid: jwk.kid,
});
const secret = (client) => stage.clients[client].client_secret;
const ways = {
  client_secret_basic: ['agent-basic', openid.ClientSecretBasic(secret('agent-basic'))],
  client_secret_post: ['agent-post', openid.ClientSecretPost(secret('agent-post'))],
  'private_key_jwt with ES256': ['agent-key', openid.PrivateKeyJwt(await key(stage.keys.ES256))],
  'private_key_jwt with EdDSA': ['agent-key', openid.PrivateKeyJwt(await key(stage.keys.EdDSA))],
};
for (const [way, [client, authentication]] of Object.entries(ways)) {
  const configuration = await openid.discovery(new URL(stage.issuer), client, undefined, authentication, options);
  const tokens = await judge.accepted(`${way}: a token`, () => openid.clientCredentialsGrant(configuration, ask));
  if (!tokens) continue;
  judge.equal('  with the scope asked for', [claims(tokens.access_token).client_id, tokens.scope, tokens.expiresIn() > 0],
    [client, 'tool:forecast', true]);
}

const agent = await openid.discovery(new URL(stage.issuer), 'agent-basic', undefined, ways.client_secret_basic[1], options);
const subject = await openid.clientCredentialsGrant(agent, ask);
const weather = await openid.discovery(new URL(stage.issuer), 'weather-server', undefined,
  openid.ClientSecretBasic(secret('weather-server')), options);
const exchanged = await openid.genericGrantRequest(weather, 'urn:ietf:params:oauth:grant-type:token-exchange', {
  subject_token: subject.access_token,
  subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
  resource: stage.resources.archive.resource,
});
judge.equal('token exchange by the MCP server', [claims(exchanged.access_token).aud, claims(exchanged.access_token).act.sub],
  [stage.resources.archive.resource, 'weather-server']);

const registered = await openid.dynamicClientRegistration(
  new URL(stage.tenants.acme.issuer),
  { client_name: 'Registered', grant_types: ['client_credentials'], token_endpoint_auth_method: 'client_secret_post' },
  undefined,
  options,
);
const ledger = stage.tenants.acme.resources.ledger.resource;
judge.equal('register and use the registration at once', (await openid.clientCredentialsGrant(registered, { resource: ledger })).scope, 'tool:read');
await judge.refused('a secret of one issuer is worth nothing at another',
  async () => openid.clientCredentialsGrant(
    await openid.discovery(new URL(stage.tenants.acme.issuer), 'agent-basic', undefined, ways.client_secret_basic[1], options), { resource: ledger }),
  async (error) => (error.error ?? (await error.response?.json())?.error) === 'invalid_client');
judge.finish();
