// Verifies access tokens with jose.
//
//   node verify.mjs check FILE            each token once, with the keys behind `jwks_uri`
//   node verify.mjs bench FILE SECONDS    the same tokens over and over for so much CPU time, with the keys in FILE
//
// FILE: {"issuer", "audience", "alg", "jwks_uri", "jwks", "tokens": [...]}
import { readFile } from 'node:fs/promises';

import { createLocalJWKSet, createRemoteJWKSet, jwtVerify } from 'jose';

const [mode, file, seconds] = process.argv.slice(2);
const { issuer, audience, alg, jwks_uri: jwksUri, jwks, tokens } = JSON.parse(await readFile(file, 'utf8'));
const options = { issuer, audience, algorithms: [alg], typ: 'at+jwt', requiredClaims: ['exp', 'iat', 'jti', 'sub'] };

async function check() {
  const keys = createRemoteJWKSet(new URL(jwksUri));
  const verified = await Promise.all(tokens.map((token) => jwtVerify(token, keys, options)));
  return verified.map(({ protectedHeader: header, payload }) => ({ header, payload }));
}

// Signature checks run on libuv's threads: with 32 under way at a time they cost jose less CPU
// (RS256) or as much (EdDSA) as one after the other.
async function round(keys) {
  for (let i = 0; i < tokens.length; i += 32) {
    await Promise.all(tokens.slice(i, i + 32).map((token) => jwtVerify(token, keys, options)));
  }
}

// Until this much CPU time is spent: how many, and what they cost.
async function repeat(keys, microseconds) {
  const begun = process.cpuUsage();
  let verified = 0;
  for (;;) {
    await round(keys);
    verified += tokens.length;
    const { user, system } = process.cpuUsage(begun);
    if (user + system >= microseconds) return { verified, cpu_us: user + system };
  }
}

async function bench() {
  const keys = createLocalJWKSet(jwks);
  const budget = Number(seconds) * 1e6;
  await repeat(keys, budget / 2);
  return repeat(keys, budget);
}

console.log(JSON.stringify(await { check, bench }[mode]()));
