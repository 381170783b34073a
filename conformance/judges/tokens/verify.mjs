// jose's verdict on each case; keys from the issuer's JWKS.

import { readFileSync } from 'node:fs';
import { calculateJwkThumbprint, createRemoteJWKSet, jwtVerify } from 'jose';

const { jwks_uri, cases } = JSON.parse(readFileSync(0, 'utf8'));
const keys = createRemoteJWKSet(new URL(jwks_uri));

const verdicts = [];
for (const { token, algorithm, audience, issuer } of cases) {
  try {
    await jwtVerify(token, keys, {
      algorithms: [algorithm],
      audience,
      issuer,
      typ: 'at+jwt',
      requiredClaims: ['exp', 'iat', 'sub', 'jti', 'client_id'],
    });
    verdicts.push({ accepted: true });
  } catch (refusal) {
    verdicts.push({ accepted: false, reason: refusal.message });
  }
}

const published = (await (await fetch(jwks_uri)).json()).keys;
const thumbprints = Object.fromEntries(
  await Promise.all(published.map(async (key) => [key.kid, await calculateJwkThumbprint(key)])),
);
const { version } = JSON.parse(readFileSync(new URL('../node_modules/jose/package.json', import.meta.url), 'utf8'));
console.log(JSON.stringify({ version, thumbprints, verdicts }));
