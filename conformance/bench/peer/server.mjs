// oidc-provider in memory, set up to issue the same access token as Writ does in the benchmark: one resource
// indicator (RFC 8707), a signed RFC 9068 JWT, by client credentials or by codes of people who are always let in.
//
//   node server.mjs SCENE.json KEYS.json PORT
//
// KEYS.json is created when it does not exist, so a first and a second start can be told apart.
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';

import { exportJWK, generateKeyPair } from 'jose';
import { errors, Provider } from 'oidc-provider';

const [sceneFile, keysFile, port] = process.argv.slice(2);
const scene = JSON.parse(await readFile(sceneFile, 'utf8'));

async function generateKeys() {
  const keys = await Promise.all(['RS256', 'ES256', 'EdDSA'].map(async (alg) => {
    const { privateKey } = await generateKeyPair(alg, { extractable: true, modulusLength: 2048 });
    return { ...await exportJWK(privateKey), alg, use: 'sig' };
  }));
  await writeFile(keysFile, JSON.stringify({ keys }), { mode: 0o600 });
}

if (!existsSync(keysFile)) await generateKeys();
const jwks = JSON.parse(await readFile(keysFile, 'utf8'));

// What a resource server is does not change between requests, so it is built once.
const resourceServers = new Map(scene.resources.map(({ resource, alg }) => [resource, {
  scope: scene.scope,
  audience: resource,
  accessTokenFormat: 'jwt',
  accessTokenTTL: scene.lifetime,
  jwt: { sign: { alg } },
}]));

// What the adapter it comes with does, but that one forgets all but the last thousand.
const stored = new Map();
const ofGrant = new Map();
class Memory {
  constructor(model) { this.model = model; }
  key(id) { return `${this.model}:${id}`; }
  async find(id) { return stored.get(this.key(id)); }
  async findByUid(uid) { return stored.get(stored.get(`uid:${uid}`)); }
  async upsert(id, payload) {
    const key = this.key(id);
    stored.set(key, payload);
    if (this.model === 'Session') stored.set(`uid:${payload.uid}`, key);
    if (payload.grantId && this.model !== 'Grant') {
      if (!ofGrant.has(payload.grantId)) ofGrant.set(payload.grantId, []);
      ofGrant.get(payload.grantId).push(key);
    }
  }
  async consume(id) { stored.get(this.key(id)).consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { stored.delete(this.key(id)); }
  async revokeByGrantId(id) {
    for (const key of ofGrant.get(id) ?? []) stored.delete(key);
    ofGrant.delete(id);
  }
}

const code = {
  grant_types: ['authorization_code', 'refresh_token'],
  redirect_uris: [scene.redirect_uri],
  response_types: ['code'],
};

const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks,
  adapter: Memory,
  clients: [{
    client_id: scene.client_id,
    client_secret: scene.client_secret,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    token_endpoint_auth_method: 'client_secret_basic',
  }, {
    client_id: scene.public_client,
    token_endpoint_auth_method: 'none',
    ...code,
  }, {
    client_id: scene.confidential_client,
    client_secret: scene.client_secret,
    token_endpoint_auth_method: 'client_secret_basic',
    ...code,
  }],
  scopes: [scene.scope],
  issueRefreshToken: (_ctx, client) => client.grantTypeAllowed('refresh_token'),
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  // Everybody allows what is asked, once in a session.
  async loadExistingGrant({ oidc }) {
    const { Grant } = oidc.provider;
    const known = oidc.session.grantIdFor(oidc.client.clientId);
    const before = known && await Grant.find(known);
    if (before) return before;
    const grant = new Grant({ accountId: oidc.session.accountId, clientId: oidc.client.clientId });
    grant.addOIDCScope(scene.scope);
    for (const { resource } of scene.resources) grant.addResourceScope(resource, scene.scope);
    await grant.save();
    return grant;
  },
  // The member Writ's tokens have beyond RFC 9068, so that both sign about as many bytes.
  extraTokenClaims: () => ({ grant_id: scene.grant_id }),
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo(_ctx, resource) {
        const known = resourceServers.get(resource);
        if (!known) throw new errors.InvalidTarget();
        return known;
      },
    },
  },
});

// Whoever the request hints at is signed in.
provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith('/interaction/')) return next();
  const { params } = await provider.interactionDetails(ctx.req, ctx.res);
  const to = await provider.interactionResult(ctx.req, ctx.res, { login: { accountId: params.login_hint } });
  ctx.status = 303;
  return ctx.redirect(to);
});

provider.on('server_error', (_ctx, error) => console.error(error));
provider.listen(Number(port), '127.0.0.1');
