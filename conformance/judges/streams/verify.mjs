// SETs verified by jose, from the published keys alone.
//
//     node verify.mjs ISSUER JWKS_URI        lines of JSON on stdin: {"set", "aud", "jti"}
//
// Prints how many verified; also that a spoilt one, one for somebody else and one as an access token do not.

import { createInterface } from 'node:readline';
import { createRemoteJWKSet, jwtVerify } from 'jose';

const [issuer, jwks] = process.argv.slice(2);
const keys = createRemoteJWKSet(new URL(jwks));
const options = { issuer, typ: 'secevent+jwt', algorithms: ['RS256', 'PS256', 'ES256', 'EdDSA'] };
const refused = (set, changes) => jwtVerify(set, keys, { ...options, ...changes }).then(() => 0, () => 1);

const said = { verified: 0, spoilt: 0, misdirected: 0, mistyped: 0, algorithms: {} };
for await (const line of createInterface({ input: process.stdin })) {
  const { set, aud, jti } = JSON.parse(line);
  const { payload, protectedHeader } = await jwtVerify(set, keys, { ...options, audience: aud });
  if (payload.jti !== jti) throw new Error(`jti ${payload.jti}, expected ${jti}`);
  said.verified += 1;
  said.algorithms[protectedHeader.alg] = (said.algorithms[protectedHeader.alg] ?? 0) + 1;
  const [head, body, signature] = set.split('.');
  const other = signature[9] === 'A' ? 'B' : 'A';
  said.spoilt += await refused(`${head}.${body}.${signature.slice(0, 9)}${other}${signature.slice(10)}`, { audience: aud });
  said.misdirected += await refused(set, { audience: `${aud}/elsewhere` });
  said.mistyped += await refused(set, { audience: aud, typ: 'at+jwt' });
}
console.log(JSON.stringify(said));
