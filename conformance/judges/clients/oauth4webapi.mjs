// oauth4webapi as token client: every way of authentication, token exchange, dynamic registration.

import * as oauth from 'oauth4webapi';
import { claims, Judge, scene } from '../judging.mjs';

const judge = new Judge('oauth4webapi');
const stage = scene();
const insecure = { [oauth.allowInsecureRequests]: true };
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';

const discover = async (issuer) =>
  oauth.processDiscoveryResponse(
    new URL(issuer),
    await oauth.discoveryRequest(new URL(issuer), { algorithm: 'oauth2', ...insecure }),
  );
const server = await discover(stage.issuer);
const resourceOf = (name) => stage.resources[name].resource;
const basic = (client) => oauth.ClientSecretBasic(stage.clients[client].client_secret);

/** The library takes keys as CryptoKey; Ed25519 it signs as `Ed25519` (RFC 9864). */
const subtle = {
  RS256: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  PS256: { name: 'RSA-PSS', hash: 'SHA-256' },
  ES256: { name: 'ECDSA', namedCurve: 'P-256' },
  EdDSA: { name: 'Ed25519' },
};
const importKey = async (jwk) => ({
  key: await crypto.subtle.importKey('jwk', { ...jwk, alg: undefined }, subtle[jwk.alg], false, ['sign']),
  kid: jwk.kid,
});

async function clientCredentials(at, clientId, authentication, parameters) {
  const client = { client_id: clientId };
  const answer = await oauth.clientCredentialsGrantRequest(at, client, authentication, parameters, insecure);
  return oauth.processClientCredentialsResponse(at, client, answer);
}

const forecast = { resource: resourceOf('weather'), scope: 'tool:forecast' };
/** A refusal with a challenge in the header leaves its body, which names the error, unread. */
const refusedWith = (...codes) => async (error) =>
  codes.includes(error instanceof oauth.WWWAuthenticateChallengeError ? (await error.response.json()).error : error.error);

console.log('-- client credentials');
const ways = {
  client_secret_basic: ['agent-basic', basic('agent-basic')],
  client_secret_post: ['agent-post', oauth.ClientSecretPost(stage.clients['agent-post'].client_secret)],
};
for (const algorithm of Object.keys(subtle)) {
  ways[`private_key_jwt with ${algorithm}`] = ['agent-key', oauth.PrivateKeyJwt(await importKey(stage.keys[algorithm]))];
}
for (const [way, [clientId, authentication]] of Object.entries(ways)) {
  const tokens = await judge.accepted(`${way}: a token`, () => clientCredentials(server, clientId, authentication, forecast));
  if (!tokens) continue;
  const { client_id, scope, aud } = claims(tokens.access_token);
  judge.equal('  with the scope asked for', [client_id, scope, aud, tokens.scope],
    [clientId, 'tool:forecast', forecast.resource, 'tool:forecast']);
}

console.log('-- what the token endpoint refuses');
const wrongly = (clientId, authentication, parameters = forecast) =>
  () => clientCredentials(server, clientId, authentication, parameters);
const signing = await importKey(stage.keys.ES256);
const changed = (change) =>
  oauth.PrivateKeyJwt(signing, { [oauth.modifyAssertion]: (header, payload) => change(payload, header) });
const once = changed((payload) => { payload.jti = 'used-once'; });
judge.check('an assertion is accepted', (await wrongly('agent-key', once)()).access_token !== undefined);
for (const [what, clientId, authentication, parameters, code] of [
  ['that assertion again', 'agent-key', once, forecast, 'invalid_client'],
  ['a wrong secret', 'agent-basic', oauth.ClientSecretBasic('wrong'), forecast, 'invalid_client'],
  ['a secret from a client with keys', 'agent-key', oauth.ClientSecretPost('agent-key'), forecast, 'invalid_client'],
  ['a client nobody knows', 'nobody', oauth.ClientSecretBasic('wrong'), forecast, 'invalid_client'],
  ['a client with keys without an assertion', 'agent-key', oauth.None(), forecast, 'invalid_client'],
  ['an assertion for another audience', 'agent-key', changed((payload) => { payload.aud = 'https://other.example'; }), forecast, 'invalid_client'],
  ['an assertion for several audiences', 'agent-key', changed((payload) => { payload.aud = [stage.issuer, 'https://other.example']; }), forecast, 'invalid_client'],
  ['an expired assertion', 'agent-key', changed((payload) => { payload.exp -= 3600; }), forecast, 'invalid_client'],
  ['an assertion without jti', 'agent-key', changed((payload) => { delete payload.jti; }), forecast, 'invalid_client'],
  ['an assertion about another client', 'agent-key', changed((payload) => { payload.sub = 'agent-basic'; }), forecast, 'invalid_client'],
  ['an assertion whose alg is not the key\'s', 'agent-key', changed((_, header) => { header.alg = 'RS256'; }), forecast, 'invalid_client'],
  ['a resource nobody knows', 'agent-basic', basic('agent-basic'), { resource: 'https://other.example/mcp' }, 'invalid_target'],
  ['a resource not allowed to this client', 'sub-agent', basic('sub-agent'), { resource: resourceOf('vault') }, 'invalid_target'],
  ['a grant this client has not', 'weather-server', basic('weather-server'), forecast, 'unauthorized_client'],
]) {
  await judge.refused(`${what}: ${code}`, wrongly(clientId, authentication, parameters), refusedWith(code));
}

console.log('-- the access token, as a resource server that uses this library sees it');
for (const [algorithm, name, scope] of [['RS256', 'weather', 'tool:forecast'], ['ES256', 'archive', 'tool:search'], ['EdDSA', 'vault', 'tool:open']]) {
  const tokens = await clientCredentials(server, 'agent-basic', basic('agent-basic'), { resource: resourceOf(name), scope });
  const request = new Request(resourceOf(name), { headers: { authorization: `Bearer ${tokens.access_token}` } });
  const options = { signingAlgorithms: [algorithm], ...insecure };
  const verified = await oauth.validateJwtAccessToken(server, request, resourceOf(name), options);
  judge.equal(`${algorithm}: RFC 9068 validation passes`, verified.client_id, 'agent-basic');
  await judge.refused(`${algorithm}: and fails for another audience`,
    () => oauth.validateJwtAccessToken(server, request, resourceOf('notes'), options), (error) => /aud/.test(error.message));
}

console.log('-- token exchange');
async function exchange(clientId, parameters) {
  const client = { client_id: clientId };
  const answer = await oauth.genericTokenEndpointRequest(server, client, basic(clientId), EXCHANGE,
    { subject_token_type: ACCESS_TOKEN, ...parameters }, insecure);
  return oauth.processGenericTokenEndpointResponse(server, client, answer);
}
const agent = await clientCredentials(server, 'agent-basic', basic('agent-basic'),
  { resource: forecast.resource, scope: 'tool:forecast tool:alert' });
const subAgent = await clientCredentials(server, 'sub-agent', basic('sub-agent'), forecast);
const delegated = await exchange('sub-agent', {
  subject_token: agent.access_token, actor_token: subAgent.access_token, actor_token_type: ACCESS_TOKEN, ...forecast,
});
const chain = claims(delegated.access_token);
judge.equal('a sub-agent acts for the agent', [chain.sub, chain.act.sub], ['agent-basic', 'sub-agent']);
judge.equal('with less than the agent had', [chain.scope, chain.aud], ['tool:forecast', forecast.resource]);
judge.equal('issued_token_type is said', delegated.issued_token_type, ACCESS_TOKEN);
judge.check('it does not outlive the agent\'s token', chain.exp <= claims(agent.access_token).exp);
const downstream = await exchange('weather-server', { subject_token: delegated.access_token, resource: resourceOf('archive') });
const further = claims(downstream.access_token);
judge.equal('the MCP server exchanges what it received for a downstream token', [further.sub, further.aud, further.scope],
  ['agent-basic', resourceOf('archive'), 'tool:search']);
judge.equal('and the chain of actors grows at its outer end', [further.act.sub, further.act.act?.sub], ['weather-server', 'sub-agent']);
for (const [what, clientId, parameters, codes] of [
  ['a scope the subject token has not', 'sub-agent', { subject_token: subAgent.access_token, resource: forecast.resource, scope: 'tool:alert' }, ['invalid_scope']],
  ['a target not allowed', 'sub-agent', { subject_token: agent.access_token, resource: resourceOf('vault') }, ['invalid_target']],
  ['a token that is no token', 'sub-agent', { subject_token: 'nonsense', resource: forecast.resource }, ['invalid_request', 'invalid_grant']],
  ['a token issued to a server that is not this one', 'weather-server',
    { subject_token: (await clientCredentials(server, 'agent-basic', basic('agent-basic'), { resource: resourceOf('notes'), scope: 'tool:read_note' })).access_token, resource: resourceOf('archive') },
    ['invalid_request', 'invalid_grant', 'invalid_target']],
]) {
  await judge.refused(`${what} is refused`, () => exchange(clientId, parameters), refusedWith(...codes));
}

console.log('-- dynamic registration in a tenant where it is open (RFC 7591, RFC 7592)');
const tenant = await discover(stage.tenants.acme.issuer);
const ledger = stage.tenants.acme.resources.ledger.resource;
const jwks = ({ d, p, q, dp, dq, qi, ...key }) => ({ keys: [key] });
const register = async (metadata) =>
  oauth.processDynamicClientRegistrationResponse(await oauth.dynamicClientRegistrationRequest(tenant, metadata, insecure));

for (const algorithm of ['PS256', 'EdDSA']) {
  const wanted = {
    client_name: `Agent with a ${algorithm} key`,
    grant_types: ['client_credentials'],
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: jwks(stage.keys[algorithm]),
  };
  const registered = await judge.accepted(`${algorithm}: a registration`, () => register(wanted));
  if (!registered) continue;
  judge.equal(`${algorithm}: registered as asked`,
    [registered.client_name, registered.grant_types, registered.token_endpoint_auth_method],
    [wanted.client_name, wanted.grant_types, wanted.token_endpoint_auth_method]);
  judge.check(`${algorithm}: no secret for a client with keys`, registered.client_secret === undefined);
  const authentication = oauth.PrivateKeyJwt(await importKey(stage.keys[algorithm]));
  const ask = (scope) => clientCredentials(tenant, registered.client_id, authentication, { resource: ledger, ...(scope && { scope }) });
  const opened = await judge.accepted(`${algorithm}: it gets a token`, () => ask());
  judge.equal(`${algorithm}: with the open scope`, opened?.scope, 'tool:read');
  await judge.refused(`${algorithm}: and no other scope`, () => ask('tool:post'), refusedWith('invalid_scope'));

  const { registration_client_uri: uri, registration_access_token: key } = registered;
  const manage = (method, body, bearer = key) =>
    fetch(uri, {
      method,
      headers: { authorization: `Bearer ${bearer}`, ...(body && { 'content-type': 'application/json' }) },
      body: body && JSON.stringify(body),
    });
  judge.check(`${algorithm}: registration_client_uri lies under the issuer`, uri?.startsWith(`${tenant.issuer}/`), uri);
  const read = await manage('GET');
  const current = await read.json();
  judge.equal(`${algorithm}: read answers the registration`, [read.status, current.client_id, current.client_name],
    [200, registered.client_id, wanted.client_name]);
  judge.equal(`${algorithm}: a stranger may not read it`, (await manage('GET', undefined, 'wrong')).status, 401);
  const rotated = current.registration_access_token ?? key;
  const updated = await manage('PUT', { ...wanted, client_id: registered.client_id, client_name: 'Renamed' }, rotated);
  const after = await updated.json();
  judge.equal(`${algorithm}: update replaces the metadata`, [updated.status, after.client_name], [200, 'Renamed']);
  const last = after.registration_access_token ?? rotated;
  judge.equal(`${algorithm}: delete answers 204`, (await manage('DELETE', undefined, last)).status, 204);
  judge.equal(`${algorithm}: then the registration token is dead`, (await manage('GET', undefined, last)).status, 401);
  await judge.refused(`${algorithm}: and the client too`, () => ask(), refusedWith('invalid_client'));
}
const confidential = await register({ client_name: 'Agent with a secret', grant_types: ['client_credentials'],
  token_endpoint_auth_method: 'client_secret_basic' });
judge.equal('a registered secret works', (await clientCredentials(tenant, confidential.client_id,
  oauth.ClientSecretBasic(confidential.client_secret), { resource: ledger })).scope, 'tool:read');
for (const [what, metadata] of [
  ['a private key in jwks', { token_endpoint_auth_method: 'private_key_jwt', grant_types: ['client_credentials'], jwks: { keys: [stage.keys.ES256] } }],
  ['jwks and jwks_uri together', { token_endpoint_auth_method: 'private_key_jwt', grant_types: ['client_credentials'], jwks: jwks(stage.keys.ES256), jwks_uri: 'https://agent.example/jwks' }],
  ['private_key_jwt without keys', { token_endpoint_auth_method: 'private_key_jwt', grant_types: ['client_credentials'] }],
  ['a method that does not exist', { token_endpoint_auth_method: 'password_over_the_phone', grant_types: ['client_credentials'] }],
]) {
  await judge.refused(`${what} is refused`, () => register(metadata), refusedWith('invalid_client_metadata'));
}
judge.finish();
