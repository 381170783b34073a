// oidc-provider in memory, set up to issue the same access token as Writ does in the benchmark:
// client credentials, one resource indicator (RFC 8707), a signed RFC 9068 JWT.
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

const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks,
  clients: [{
    client_id: scene.client_id,
    client_secret: scene.client_secret,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    token_endpoint_auth_method: 'client_secret_basic',
  }],
  scopes: [scene.scope],
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

provider.on('server_error', (_ctx, error) => console.error(error));
provider.listen(Number(port), '127.0.0.1');
