// DPoP proofs made in advance (RFC 9449 §4.2), each with a name of its own, as requests for load.lua.
//
//   node proofs.mjs ALG URL COUNT FILE AUTHORIZATION BODY
//
// Prints what one proof cost to make, in microseconds of CPU time: a client has to do that as well.
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';

const [alg, url, count, file, authorization, body] = process.argv.slice(2);
const pair = alg === 'EdDSA' ? generateKeyPairSync('ed25519') : generateKeyPairSync('ec', { namedCurve: 'P-256' });
const digest = alg === 'EdDSA' ? null : 'sha256';
const key = { key: pair.privateKey, dsaEncoding: 'ieee-p1363' };
const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

const header = encode({ typ: 'dpop+jwt', alg, jwk: pair.publicKey.export({ format: 'jwk' }) });
const begun = process.cpuUsage();
const iat = Math.floor(Date.now() / 1000);
const out = openSync(file, 'w');
let lines = [];
for (let i = 0; i < Number(count); i += 1) {
  const jti = randomBytes(12).toString('base64url');
  const input = `${header}.${encode({ jti, htm: 'POST', htu: url, iat })}`;
  const proof = `${input}.${sign(digest, Buffer.from(input), key).toString('base64url')}`;
  lines.push(`DPoP: ${proof}\tAuthorization: ${authorization}\t${body}\n`);
  if (lines.length === 1000) {
    writeSync(out, lines.join(''));
    lines = [];
  }
}
writeSync(out, lines.join(''));
closeSync(out);
const { user, system } = process.cpuUsage(begun);
const jwk = pair.publicKey.export({ format: 'jwk' });
const members = alg === 'EdDSA' ? { crv: jwk.crv, kty: jwk.kty, x: jwk.x } : { crv: jwk.crv, kty: jwk.kty, x: jwk.x, y: jwk.y };
const jkt = createHash('sha256').update(JSON.stringify(members)).digest('base64url');
console.log(JSON.stringify({ cpu_us: (user + system) / Number(count), jkt }));
