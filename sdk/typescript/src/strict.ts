/** JSON and compact JWS, read so that no two readers could understand them differently. */

import { compactVerify, type CryptoKey } from 'jose';
import { VerifyError } from './errors.js';

/** The signature algorithms that are accepted unless fewer are asked for; asymmetric ones only. */
export const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA'] as const;

/** The older name of an algorithm that has two (RFC 9864 §2.2). */
export const algorithm = (name: string): string => (name === 'Ed25519' ? 'EdDSA' : name);

/** The last second of the year 9999: later times are mistakes (milliseconds) or attacks. */
const LATEST = 253_402_300_799;

/** An object of JSON. */
export type Members = Record<string, unknown>;

/** An object names a member twice (RFC 8259 §4 leaves open what that means). */
export class RepeatedMember extends SyntaxError {}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** One JSON text in UTF-8. Throws `SyntaxError` or `TypeError`, also for members named twice. */
export function readJson(text: string | Uint8Array): unknown {
  const decoded = typeof text === 'string' ? text : utf8.decode(text);
  const value: unknown = JSON.parse(decoded);
  refuseRepetitions(decoded);
  return value;
}

/** Looks through JSON that is known to be well formed. */
function refuseRepetitions(text: string): void {
  const open: (Set<string> | undefined)[] = [];
  let expectsName = false;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],]/g)) {
    const names = open.at(-1);
    if (token === '{') {
      open.push(new Set());
      expectsName = true;
    } else if (token === '[') {
      open.push(undefined);
      expectsName = false;
    } else if (token === '}' || token === ']') {
      open.pop();
      expectsName = false;
    } else if (token === ',') {
      expectsName = names !== undefined;
    } else if (expectsName && names !== undefined) {
      const name = JSON.parse(token) as string;
      if (names.has(name)) throw new RepeatedMember('a member is repeated');
      names.add(name);
      expectsName = false;
    }
  }
}

export const isObject = (value: unknown): value is Members =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export const isText = (value: unknown): value is string => typeof value === 'string' && value !== '';

/** Whether this is a NumericDate (RFC 7519 §2) that a clock may show. */
export const isTime = (value: unknown): value is number => typeof value === 'number' && value >= 0 && value <= LATEST;

/** A compact JWS whose signature has not been looked at. */
export class Unverified {
  private constructor(
    readonly token: string,
    private readonly saidAlg: string,
    readonly typ: string,
    readonly kid: string | undefined,
  ) {}

  /** The algorithm, by its older name. */
  get alg(): string {
    return algorithm(this.saidAlg);
  }

  /** Reads the header alone. */
  static parse(token: string): Unverified {
    if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) {
      throw new VerifyError('the token is not a compact JWS');
    }
    const header = objectOf(Buffer.from(token.slice(0, token.indexOf('.')), 'base64url'));
    if (header === undefined) throw new VerifyError('the token header is malformed');
    // RFC 7515 §4.1.11: whatever is critical here is not understood here.
    if ('crit' in header || 'b64' in header) {
      throw new VerifyError('the token needs a header extension that is not supported');
    }
    const { alg, typ = '', kid } = header;
    if (typeof alg !== 'string' || typeof typ !== 'string' || (kid !== undefined && typeof kid !== 'string')) {
      throw new VerifyError('the token header is malformed');
    }
    return new Unverified(token, alg, typ, kid);
  }

  /** Media types fold case and may leave `application/` out (RFC 7515 §4.1.9). */
  isTyp(mediaType: string): boolean {
    return this.typ.toLowerCase().replace(/^application\//, '') === mediaType;
  }

  /** The claims, once the signature holds. */
  async verify(key: CryptoKey): Promise<Members> {
    const verified = await compactVerify(this.token, key, { algorithms: [this.saidAlg] }).catch(() => {
      throw new SignatureError('the signature does not verify');
    });
    const claims = objectOf(verified.payload);
    if (claims === undefined) throw new VerifyError('the token claims are malformed');
    return claims;
  }
}

export class SignatureError extends VerifyError {}

function objectOf(octets: Uint8Array): Members | undefined {
  try {
    const value = readJson(octets);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
