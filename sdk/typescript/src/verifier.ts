/** Decides whether an access token is good for one resource (RFC 9068 §4), and whether it was revoked. */

import { readClaims, type AccessClaims } from './claims.js';
import { Delivery } from './delivery.js';
import { SetupError, UnavailableError, VerifyError } from './errors.js';
import { Receiver, requested, settled, type Events, type Settled } from './events.js';
import { Introspector } from './introspection.js';
import { Keys } from './keys.js';
import { SetReader } from './sets.js';
import { Stream } from './stream.js';
import { ALGORITHMS, Unverified } from './strict.js';
import { trustedUrl, Web, type Clock, type Credentials } from './web.js';

/** Seconds on the way after which the answer about a token is not taken for a fresh one. */
const ASK_AGAIN = 1;

export interface VerifierOptions {
  /** The URL of the MCP server as clients know it: tokens must name exactly this in `aud`. */
  resource: string;
  /** The authorization server, octet for octet as it calls itself. */
  issuer: string;
  /** Has the issuer tell what was revoked. */
  events?: Events;
  /** Has the issuer be asked about each token, on each call (RFC 7662), as this client. */
  introspect?: Credentials;
  /** Where the issuer's keys are, when its metadata should not be asked. */
  jwksUri?: string;
  algorithms?: readonly string[];
  /** Seconds that the issuer's clock may be off; 30. */
  leeway?: number;
  /** The least seconds between two fetches of the keys, however many tokens name unknown ones; 10. */
  refetchFloor?: number;
  /** Seconds that one request to the issuer may take; 5. */
  timeout?: number;
  /** Where the time comes from, in seconds since 1970. */
  clock?: Clock;
}

/** Verifies access tokens of one issuer for one resource. */
export class Verifier {
  readonly resource: string;
  readonly issuer: string;
  /** Where pushed SETs arrive, when that is how they do. */
  readonly pushUrl: URL | undefined;
  /** What hears of revocations, when there are `events`. */
  readonly receiver: Receiver | undefined;
  readonly #keys: Keys;
  readonly #clock: Clock;
  readonly #algorithms: readonly string[];
  readonly #leeway: number;
  readonly #introspector: Introspector | undefined;
  readonly #inDoubt: Introspector | undefined;
  readonly #delivery: Delivery | undefined;
  #running: { controller: AbortController; done: Promise<void> } | undefined;

  constructor(options: VerifierOptions) {
    const { resource, issuer, jwksUri, algorithms = ALGORITHMS, clock = () => Date.now() / 1000 } = options;
    const resourceUrl = trustedUrl('resource', resource);
    if (jwksUri !== undefined) trustedUrl('jwksUri', jwksUri);
    if (resource.includes('?') || issuer.includes('?')) {
      throw new SetupError('resource, issuer: neither has a query (RFC 8414 §2, RFC 9728 §1.2)');
    }
    if (algorithms.length === 0 || !algorithms.every((name) => (ALGORITHMS as readonly string[]).includes(name))) {
      throw new SetupError(`algorithms: some of ${ALGORITHMS.join(', ')}`);
    }
    [this.resource, this.issuer, this.#clock, this.#algorithms] = [resource, issuer, clock, algorithms];
    this.#leeway = options.leeway ?? 30;
    const web = new Web(issuer, options.timeout ?? 5);
    const floor = options.refetchFloor ?? 10;
    this.#keys = new Keys(web, clock, async () => jwksUri ?? web.endpoint('jwks_uri'), floor);
    this.#introspector = options.introspect && new Introspector(web, options.introspect);
    if (options.events === undefined) return;

    const events: Settled = settled(options.events);
    const { delivery } = events;
    if (typeof delivery === 'object') {
      const url = delivery.push.startsWith('/') ? new URL(delivery.push, resourceUrl).href : delivery.push;
      this.pushUrl = trustedUrl('push', url);
    }
    // A token may come so long after its `iat`, by the clocks of two machines.
    const keep = events.tokenLifetime + Math.max(60, 2 * this.#leeway);
    // Their own: whoever sends tokens with made-up keys must not use up the fetches for SETs.
    const keys = new Keys(web, clock, async () => web.named(await web.transmitter(), 'jwks_uri'), floor);
    const reader = new SetReader(keys, issuer, resource, clock);
    const receiver = new Receiver(events, keep, reader, issuer, clock);
    const push = this.pushUrl && { url: this.pushUrl.href, authorization: receiver.pushSecret };
    const wanted = { instance: events.instance, events: requested(events), ...(push && { push }) };
    const stream = new Stream(web, resource, events, clock, wanted);
    this.receiver = receiver;
    this.#delivery = new Delivery(events, keep, floor, stream, receiver, clock);
    this.#inDoubt = events.whenStale === 'introspect' ? new Introspector(web, events) : undefined;
  }

  /**
   * Checks a token that came as a bearer token, and gives what it says. Throws `UnavailableError` when it cannot be
   * judged at the moment; every other `VerifyError` is its own fault.
   */
  async verify(token: string): Promise<AccessClaims> {
    return this.#judge(token, await this.#check(token));
  }

  /** What a token is still worth that was verified before, `waited` seconds ago. */
  async verifyAgain(token: string, claims: AccessClaims, waited: number): Promise<AccessClaims> {
    return waited >= ASK_AGAIN ? this.#judge(token, claims) : this.standing(claims);
  }

  /** What a token that was verified is worth by what is known here and now; nobody is asked. */
  standing(claims: AccessClaims): AccessClaims {
    if (this.remaining(claims) <= 0) throw new VerifyError('the token has expired');
    const decision = this.receiver?.decide(claims);
    if (decision?.verdict === 'denied') throw new VerifyError(decision.reason);
    return decision === undefined ? claims : { ...claims, scopes: decision.scopes };
  }

  /** Seconds for which the token is still accepted. */
  remaining({ exp }: AccessClaims): number {
    return exp + this.#leeway - this.#clock();
  }

  /** Fetches the issuer's keys if there are none yet, so that a wrong setting shows at start. */
  loadKeys(): Promise<void> {
    return this.#keys.load();
  }

  /** Begins to listen for revocations. `protect` does so by itself. */
  start(): void {
    if (this.#delivery === undefined || this.#running !== undefined) return;
    const controller = new AbortController();
    this.#running = { controller, done: this.#delivery.run(controller.signal) };
  }

  /** Ends that. */
  async stop(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    running?.controller.abort();
    this.receiver?.health.fail('no events are received any more');
    await running?.done;
    if (running !== undefined) await this.#delivery?.close();
  }

  /** What needs nobody's opinion. What needs no key comes first, so that other tokens cause no fetch. */
  async #check(token: string): Promise<AccessClaims> {
    const unverified = Unverified.parse(token);
    if (!this.#algorithms.includes(unverified.alg)) throw new VerifyError('the signature algorithm is not accepted');
    if (!unverified.isTyp('at+jwt')) throw new VerifyError('the token is not an access token');
    const key = await this.#keys.find(unverified.kid, unverified.alg);
    if (key === undefined) throw new VerifyError('the issuer has no such key');
    const claims = readClaims(await unverified.verify(key));
    const now = this.#clock();
    if (claims.iss !== this.issuer) throw new VerifyError('the token is from another issuer');
    if (!claims.aud.includes(this.resource)) throw new VerifyError('the token is for another resource');
    if (this.remaining(claims) <= 0) throw new VerifyError('the token has expired');
    if (now + this.#leeway < Math.max(claims.iat, claims.nbf ?? 0)) {
      throw new VerifyError('the token is not valid yet');
    }
    // RFC 9449 §7.2, RFC 8705 §3: without its proof a bound token is nothing.
    if (claims.bound) throw new VerifyError('the token is bound to a key and cannot be used as a bearer token');
    return claims;
  }

  async #judge(token: string, claims: AccessClaims): Promise<AccessClaims> {
    const standing = this.standing(claims);
    const introspector = this.#whomToAsk(standing);
    // Something may arrive, and the token may end, while the answer is on its way.
    return introspector === undefined ? standing : this.standing(await introspector.confirm(token, standing));
  }

  #whomToAsk(claims: AccessClaims): Introspector | undefined {
    if (this.receiver?.decide(claims).verdict !== 'ask') return this.#introspector;
    if (this.#inDoubt === undefined) throw new UnavailableError('revocations cannot be heard of at the moment');
    return this.#inDoubt;
  }
}
