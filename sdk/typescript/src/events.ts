/** The receiver: which events count, what they mean for a token, and how much is known. */

import { randomBytes, timingSafeEqual, createHash } from 'node:crypto';
import type { AccessClaims } from './claims.js';
import { Denials, type Decision } from './denials.js';
import { SetError, SetupError } from './errors.js';
import { Health } from './health.js';
import {
  ACCOUNT_DISABLED,
  ACCOUNT_ENABLED,
  ACCOUNT_PURGED,
  CAEP,
  RISC,
  SESSION_REVOKED,
  STREAM_UPDATED,
  TOKEN_CLAIMS_CHANGE,
  VERIFICATION,
  type SecurityEvent,
  type SetReader,
} from './sets.js';
import type { Clock, Credentials } from './web.js';

/** Seconds that a `jti` is recognised as a repetition. */
const SEEN_FOR = 24 * 3600;

/** How many are. Nothing rests on it: to apply an event again changes nothing. */
const SEEN = 50_000;

const NEEDED = [SESSION_REVOKED, TOKEN_CLAIMS_CHANGE, ACCOUNT_DISABLED, ACCOUNT_ENABLED, ACCOUNT_PURGED];
const HOOKED = [
  ...['credential-change', 'assurance-level-change', 'device-compliance-change'].map((name) => CAEP + name),
  `${CAEP}risk-level-change`,
  `${RISC}credential-compromise`,
];

/** That this server hears of revocations, and how. The credentials are its own at the authorization server. */
export interface Events extends Credentials {
  /**
   * `feed` (the default, and the fastest) and `poll` need no public address. With `push` the transmitter posts to
   * this very process: https, or a path such as `/.writ/events` at the origin of the resource.
   */
  delivery?: 'feed' | 'poll' | { push: string };
  /**
   * A name for this process that stays over its restarts and is no other process's: each has a stream of its own,
   * which goes on where it was. Without one each start makes up a name, and `close` deletes the stream.
   */
  instance?: string | undefined;
  /**
   * What becomes of tokens while events may be missing: ask about each (RFC 7662, the default), or answer 503.
   */
  whenStale?: 'introspect' | 'refuse';
  /**
   * Seconds after which events count as missing when no verification was echoed; 70, and 15 at least. One is asked
   * for ten seconds before.
   */
  maxAge?: number;
  /** Seconds that access tokens of this server live at most; 3600, six days at the utmost. Markers are kept for so long. */
  tokenLifetime?: number;
  /** How many revocations are kept at once; 100,000. When there are more, every token is in doubt. */
  memory?: number;
  /**
   * Is told of every event, also of those that change nothing here by themselves (credentials, devices, risk).
   * With `end_tokens` it has the tokens of the event's subject end.
   */
  onEvent?: (event: SecurityEvent) => 'end_tokens' | void;
}

/** With every default in its place. */
export function settled(events: Events) {
  const settings = {
    delivery: 'feed' as const,
    whenStale: 'introspect' as const,
    maxAge: 70,
    tokenLifetime: 3600,
    memory: 100_000,
    ...events,
  };
  const { maxAge, tokenLifetime } = settings;
  if (!(maxAge >= 15)) throw new SetupError('maxAge: 15 seconds or more');
  if (!(tokenLifetime > 0 && tokenLifetime <= 6 * 24 * 3600)) {
    throw new SetupError('tokenLifetime: 1 second to 6 days');
  }
  return settings;
}

export type Settled = ReturnType<typeof settled>;

/** The event types to ask for. */
export const requested = ({ onEvent }: Settled): string[] => (onEvent ? [...NEEDED, ...HOOKED] : NEEDED);

/** How the receiver is. */
export interface Status {
  live: boolean;
  /** Why events may be missing. */
  doubt: string | undefined;
  /** Seconds since the moment up to which everything is known to have arrived. */
  age: number | undefined;
  /** Seconds that the last verification took to arrive. */
  lag: number | undefined;
  /** How many revocations are kept. */
  markers: number;
}

/** Takes SETs, and says what they mean for a token. Any number of deliveries may feed it. */
export class Receiver {
  readonly #seen = new Map<string, number>();
  readonly #watchers = new Set<() => void>();
  readonly denials: Denials;
  readonly health: Health;
  /** Subject members that the transmitter declares critical. */
  critical: readonly string[] = [];
  /** Whether what was revoked before has still to be told. */
  lacksPast = false;
  /** Is told why the stream cannot be relied on, and whether there are events that it will not bring again. */
  interrupted: (reason: string, isLost: boolean) => void = () => undefined;
  #knowsOfOthers = false;
  /** The whole `Authorization` header that pushed SETs have to come with. */
  readonly pushSecret = `Bearer ${randomBytes(32).toString('base64url')}`;

  constructor(
    private readonly settings: Settled,
    keep: number,
    private readonly reader: SetReader,
    issuer: string,
    private readonly clock: Clock,
  ) {
    this.denials = new Denials(issuer, keep, settings.memory);
    this.health = new Health(clock, settings.maxAge);
  }

  /** For metrics and readiness. */
  status(): Status {
    const doubt = this.health.doubt();
    const { age, lag } = this.health;
    return { live: doubt === undefined, doubt, age, lag, markers: this.denials.size };
  }

  /** What is known about a token that verifies. */
  decide(claims: AccessClaims): Decision {
    const decision = this.denials.decide(claims, this.clock());
    if (decision.verdict !== 'allowed') return decision;
    const outlives = claims.exp - claims.iat > this.settings.tokenLifetime;
    const reason =
      this.health.doubt() ??
      (outlives ? 'the token lives longer than tokenLifetime says, which is how long revocations are kept' : undefined);
    return reason === undefined ? decision : { verdict: 'ask', scopes: decision.scopes, reason };
  }

  /** Calls `changed` after every event that was applied; answers how to end that. */
  watch(changed: () => void): () => void {
    this.#watchers.add(changed);
    return () => this.#watchers.delete(changed);
  }

  /**
   * Verifies and applies a SET; when this resolves it counts. Throws `SetError` with why it was refused,
   * `UnavailableError` when it has to come again.
   */
  async accept(token: string, jti?: string): Promise<void> {
    const event = await this.reader.read(token);
    if (jti !== undefined && jti !== event.jti) throw new SetError('invalid_request', 'the SET came under another jti');
    const now = this.clock();
    for (const [oldest, at] of this.#seen) {
      if (this.#seen.size <= SEEN && at > now - SEEN_FOR) break;
      this.#seen.delete(oldest);
    }
    if (this.#seen.has(event.jti)) return;
    this.#apply(event, now);
    if (event.type !== VERIFICATION && event.type !== STREAM_UPDATED) this.#consult(event, now);
    this.#seen.set(event.jti, now);
  }

  /**
   * A pushed SET (RFC 8935 §2): undefined for 202, the error for 400; throws `UnavailableError` for 503. A body of
   * undefined stands for one that was too long to be read.
   */
  async push(
    authorization: string | undefined,
    contentType: string | undefined,
    body: string | undefined,
  ): Promise<SetError | undefined> {
    if (!isSame(authorization ?? '', this.pushSecret)) {
      return new SetError('authentication_failed', 'the Authorization header is not the one of this stream');
    }
    if ((contentType ?? '').split(';')[0]?.trim().toLowerCase() !== 'application/secevent+jwt') {
      return new SetError('invalid_request', 'the body is application/secevent+jwt');
    }
    if (body === undefined) return new SetError('invalid_request', 'the SET is longer than 64 KiB');
    try {
      await this.accept(body);
    } catch (error) {
      if (!(error instanceof SetError)) throw error;
      console.warn(`writ: refused a SET: ${error.message}`);
      return error;
    }
    return undefined;
  }

  #apply(event: SecurityEvent, now: number): void {
    if (event.type === VERIFICATION) {
      const state = event.payload.state as string | undefined;
      if (state !== undefined && !this.health.echo(state)) this.#hearOfOthers();
    } else if (event.type === STREAM_UPDATED) {
      const { status } = event.payload;
      // What is told of the past was so then. A paused stream keeps what arises (SSF 1.0 §8.1.2); one that is enabled
      // may have been disabled before.
      if (!this.lacksPast) {
        this.interrupted(`the transmitter has set the stream to ${String(status)}`, status !== 'paused');
      }
    } else {
      this.denials.apply(event, now, this.critical);
    }
  }

  /** A verification has arrived that this receiver has not asked for. */
  #hearOfOthers(): void {
    // Until the past has been told it may be what an earlier process asked for.
    if (this.lacksPast || this.health.age === undefined) return;
    if (!this.#knowsOfOthers) {
      console.warn('writ: another receiver uses this stream, and takes events away: each process needs an own instance');
      this.#knowsOfOthers = true;
    }
    this.interrupted('another receiver uses this stream', true);
    throw new SetError('invalid_state', 'nobody asked for a verification with this state');
  }

  /** Tells the author, and whoever has requests under way. */
  #consult(event: SecurityEvent, now: number): void {
    try {
      if (this.settings.onEvent?.(event) === 'end_tokens') {
        this.denials.apply({ ...event, type: SESSION_REVOKED }, now, this.critical);
      }
    } catch (error) {
      console.error(`writ: onEvent failed for SET ${event.jti}:`, error);
    }
    for (const changed of this.#watchers) changed();
  }
}

/** Compared in constant time, whatever the lengths. */
function isSame(one: string, other: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(one), digest(other));
}
