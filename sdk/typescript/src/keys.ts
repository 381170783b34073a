/** The issuer's keys: discovered, kept, and fetched again when a token names one that is not there. */

import { importJWK, type CryptoKey, type JWK } from 'jose';
import { UnavailableError, WebError } from './errors.js';
import { algorithm, isObject } from './strict.js';
import { objectIn, type Answer, type Clock, type Web } from './web.js';

const DEFAULT_MAX_AGE = 300;
const MAX_AGE_BOUNDS = [60, 24 * 3600] as const;

/** Seconds that keys count past their freshness while the issuer cannot be reached. */
const MAX_STALE = 24 * 3600;

/** Seconds between two fetches while there are no keys at all. */
const FIRST_FETCH_FLOOR = 1;

/** Per kind of key: what it may verify, and the curve it must have. */
const FITTING = new Map<unknown, { algorithms: string[]; crv?: string }>([
  ['RSA', { algorithms: ['RS256', 'PS256'] }],
  ['EC', { algorithms: ['ES256'], crv: 'P-256' }],
  ['OKP', { algorithms: ['EdDSA'], crv: 'Ed25519' }],
]);

interface Usable {
  kid: string | undefined;
  alg: string;
  key: CryptoKey;
}

/** The keys as they were fetched last. Many callers share one fetch. */
export class Keys {
  #keys: Usable[] = [];
  #freshUntil: number | undefined;
  #lastFetch = -Infinity;
  #cutOff = false;
  #fetching: Promise<void> | undefined;

  constructor(
    private readonly web: Web,
    private readonly clock: Clock,
    private readonly jwksUri: () => Promise<string>,
    /** The least seconds between two fetches. */
    readonly floor: number,
  ) {}

  /**
   * The key for a token, or undefined when the issuer has no such key.
   *
   * An unknown `kid` causes a fetch, at most one every `floor` seconds however many tokens name it. Throws
   * `UnavailableError` when there are no keys to rely on, or when the key may be one that the issuer, which
   * cannot be asked, has made since.
   */
  async find(kid: string | undefined, alg: string): Promise<CryptoKey | undefined> {
    const now = this.clock();
    if (this.#freshUntil === undefined) await this.#refetch();
    // Whoever comes while aged keys are renewed goes on with those.
    else if (now >= this.#freshUntil) void this.#refetch();
    let key = this.#lookUp(kid, alg);
    if (key === undefined) {
      await this.#refetch();
      key = this.#lookUp(kid, alg);
    }
    const tooOld = this.#freshUntil === undefined || now >= this.#freshUntil + MAX_STALE;
    if (tooOld || (key === undefined && this.#cutOff)) throw unavailable();
    return key;
  }

  /** Fetches the keys if there are none yet, so that a wrong setting shows at start. */
  async load(): Promise<void> {
    if (this.#freshUntil === undefined) await this.#refetch();
    if (this.#freshUntil === undefined) throw unavailable();
  }

  #lookUp(kid: string | undefined, alg: string): CryptoKey | undefined {
    // Without a `kid` there must be exactly one: keys are never tried one after the other.
    const fitting = this.#keys.filter((key) => key.alg === alg && (kid === undefined || key.kid === kid));
    return fitting.length === 1 ? fitting[0]?.key : undefined;
  }

  #refetch(): Promise<void> {
    const least = this.#freshUntil === undefined ? Math.min(this.floor, FIRST_FETCH_FLOOR) : this.floor;
    // The distance: a clock that was set back must not forbid fetching until it has caught up.
    if (this.#fetching === undefined && Math.abs(this.clock() - this.#lastFetch) >= least) {
      this.#fetching = this.#fetch().finally(() => (this.#fetching = undefined));
    }
    return this.#fetching ?? Promise.resolve();
  }

  async #fetch(): Promise<void> {
    const now = (this.#lastFetch = this.clock());
    try {
      const answer = await this.web.get(await this.jwksUri());
      this.#keys = await usable(answer);
      this.#freshUntil = now + maxAge(answer);
      this.#cutOff = false;
    } catch (error) {
      if (!(error instanceof WebError)) throw error;
      this.#cutOff = true;
      this.web.forget();
      console.warn(`writ: could not fetch the issuer's keys; what was known before stays: ${error.message}`);
    }
  }
}

async function usable(answer: Answer): Promise<Usable[]> {
  const { keys } = objectIn(answer);
  if (!Array.isArray(keys)) throw new WebError('the keys are not a JWK Set');
  return (await Promise.all(keys.filter(isObject).map(readings))).flat();
}

/** A key under each algorithm it may verify; none for private, weak and foreign keys. */
async function readings(jwk: JWK): Promise<Usable[]> {
  const { algorithms, crv } = FITTING.get(jwk.kty) ?? { algorithms: [] };
  if ('d' in jwk || (jwk.use ?? 'sig') !== 'sig' || (crv !== undefined && jwk.crv !== crv)) return [];
  const found: Usable[] = [];
  for (const alg of algorithms) {
    if (algorithm(jwk.alg ?? alg) !== alg) continue;
    const key = await importJWK(jwk, alg).catch(() => undefined);
    if (key === undefined || key instanceof Uint8Array) continue;
    const { modulusLength } = key.algorithm as { modulusLength?: number };
    if ((modulusLength ?? 2048) >= 2048) found.push({ kid: jwk.kid, alg, key });
  }
  return found;
}

/** `max-age` of `Cache-Control` (RFC 9111 §5.2.2.1), within bounds. */
function maxAge({ headers }: Answer): number {
  const said = /(?:^|[\s,])max-age="?(\d{1,9})/i.exec(headers.get('cache-control') ?? '')?.[1];
  const [least, most] = MAX_AGE_BOUNDS;
  return Math.min(Math.max(said === undefined ? DEFAULT_MAX_AGE : Number(said), least), most);
}

const unavailable = () =>
  new UnavailableError('the keys of the authorization server cannot be fetched at the moment');
