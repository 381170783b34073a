/** What was revoked, for as long as a token could still be affected. Pure state: no clock, no network. */

import type { AccessClaims } from './claims.js';
import {
  ACCOUNT_DISABLED,
  ACCOUNT_ENABLED,
  ACCOUNT_PURGED,
  SESSION_REVOKED,
  TOKEN_CLAIMS_CHANGE,
  type SecurityEvent,
} from './sets.js';
import type { Members } from './strict.js';
import { nameOf, readSubject, selectorsOf, type Selector } from './subjects.js';

const NEVER = -Infinity;

/** What the events say about a token. */
export interface Decision {
  /** `ask`: the events known here are not the whole truth about it. */
  verdict: 'allowed' | 'denied' | 'ask';
  /** What it still allows. */
  scopes: string[];
  reason: string;
}

/** Everything known about the tokens of one selector. */
class Marker {
  final = false;
  cutOff = NEVER;
  disabled = NEVER;
  enabled = NEVER;
  narrowed = NEVER;
  scopes = new Set<string>();
  until = NEVER;

  kills(iat: number): boolean {
    // On a tie the stricter of the two wins.
    const isDisabled = this.disabled !== NEVER && this.disabled >= this.enabled;
    return this.final || iat <= this.cutOff || isDisabled;
  }

  narrow(scopes: string[], time: number): void {
    if (time === this.narrowed) this.scopes = new Set(scopes.filter((scope) => this.scopes.has(scope)));
    else if (time > this.narrowed) [this.narrowed, this.scopes] = [time, new Set(scopes)];
  }
}

/** The markers of one issuer's revocations, bounded in number and in time. */
export class Denials {
  #markers = new Map<string, Marker>();
  #nextExpiry = NEVER;
  #askUntil = NEVER;
  #askReason = '';
  #unknownBefore = NEVER;
  #unknownUntil = NEVER;

  constructor(
    private readonly issuer: string,
    /** Seconds from its `iat` within which a token may come: so long a marker is needed. */
    private readonly keep: number,
    private readonly capacity: number,
  ) {}

  get size(): number {
    return this.#markers.size;
  }

  /** Nobody knows what was revoked before `now`: older tokens are unknown until none is left. */
  coldStart(now: number): void {
    this.#unknownBefore = now;
    this.#unknownUntil = now + this.keep;
  }

  /**
   * Keeps what the event says. In any order, and as often as it comes, the outcome is the same. Throws `SetError`
   * when its subject is not one.
   */
  apply(event: SecurityEvent, now: number, critical: readonly string[] = []): void {
    if (!ACTED_UPON.has(event.type)) return;
    const subject = readSubject(event.subId, this.issuer, critical);
    let { selector } = subject;
    const isUnmapped = subject.unmapped.length > 0;
    if (isUnmapped) console.warn(`writ: SET ${event.jti}: subject members ${subject.unmapped} say nothing here`);
    if (event.type === ACCOUNT_ENABLED) {
      // To ignore a member widens the match, and nobody else may be let in.
      if (isUnmapped || selector?.client !== undefined || selector?.session !== undefined) return;
    } else if (subject.critical || (selector === undefined && isUnmapped)) {
      this.doubt(Math.max(event.time, now) + this.keep, 'an event was about a subject that is not known here');
      return;
    }
    if (selector === undefined) return;
    if (ACCOUNT.has(event.type)) {
      if (selector.user === undefined) {
        if (event.type === ACCOUNT_ENABLED) return;
        this.doubt(Math.max(event.time, now) + this.keep, 'an event was about an account that is not known here');
        return;
      }
      selector = { user: selector.user }; // an account is a user's, whatever else is said
    }
    const until = lastOf(event, selector, now) + this.keep;
    const marker = now < until ? this.#marker(nameOf(selector), until, now) : undefined;
    if (marker === undefined) return;
    mark(marker, event, selector);
    marker.until = Math.max(marker.until, until);
  }

  /** Something may have been said about any token that is there until then. */
  doubt(until: number, reason: string): void {
    if (until <= this.#askUntil) return;
    [this.#askUntil, this.#askReason] = [until, reason];
    console.warn(`writ: ${reason}; every token is in doubt until ${until}`);
  }

  /** Denied whatever else is unknown; then unknown; then allowed, with the scopes that are left. */
  decide(claims: AccessClaims, now: number): Decision {
    let { scopes } = claims;
    for (const selector of this.#markers.size > 0 ? selectorsOf(claims, this.issuer) : []) {
      const marker = this.#markers.get(nameOf(selector));
      if (marker === undefined || marker.until <= now) continue;
      if (marker.kills(claims.iat)) return { verdict: 'denied', scopes: [], reason: 'the token has been revoked' };
      // A token that is issued later says itself what it still allows.
      const isOneToken = selector.session?.[0] === 'jti' && marker.narrowed !== NEVER;
      if (isOneToken || claims.iat <= marker.narrowed) scopes = scopes.filter((scope) => marker.scopes.has(scope));
    }
    if (now < this.#askUntil) return { verdict: 'ask', scopes, reason: this.#askReason };
    if (now < this.#unknownUntil && claims.iat <= this.#unknownBefore) {
      return { verdict: 'ask', scopes, reason: 'the token is older than what is known here' };
    }
    return { verdict: 'allowed', scopes, reason: '' };
  }

  #marker(name: string, until: number, now: number): Marker | undefined {
    let marker = this.#markers.get(name);
    if (marker === undefined) {
      if (this.#markers.size >= this.capacity) this.#dropExpired(now);
      if (this.#markers.size >= this.capacity) {
        this.doubt(until, 'there is no room for more revocations');
        return undefined;
      }
      marker = new Marker();
      this.#markers.set(name, marker);
    }
    this.#nextExpiry = this.#markers.size > 1 ? Math.min(this.#nextExpiry, until) : until;
    return marker;
  }

  #dropExpired(now: number): void {
    if (now < this.#nextExpiry) return;
    this.#nextExpiry = Infinity;
    for (const [name, { until }] of this.#markers) {
      if (until <= now) this.#markers.delete(name);
      else this.#nextExpiry = Math.min(this.#nextExpiry, until);
    }
  }
}

/** The last moment at which a token may be issued that the event is about. */
function lastOf(event: SecurityEvent, selector: Selector, now: number): number {
  const isCutOff = event.type === SESSION_REVOKED && selector.session === undefined;
  return isCutOff || ACCOUNT.has(event.type) ? event.time : Math.max(event.time, now);
}

function mark(marker: Marker, { type, time, payload }: SecurityEvent, selector: Selector): void {
  if (type === SESSION_REVOKED) {
    // A grant or a token that has ended never comes back; of anything else, tokens issued later live.
    if (selector.session !== undefined) marker.final = true;
    else marker.cutOff = Math.max(marker.cutOff, time);
  } else if (type === ACCOUNT_DISABLED || type === ACCOUNT_PURGED) {
    marker.disabled = Math.max(marker.disabled, time);
  } else if (type === ACCOUNT_ENABLED) {
    marker.enabled = Math.max(marker.enabled, time);
  } else {
    const { scope } = payload.claims as Members;
    if (typeof scope === 'string') marker.narrow(scope.split(' ').filter(Boolean), time);
  }
}

const ACCOUNT = new Set([ACCOUNT_DISABLED, ACCOUNT_ENABLED, ACCOUNT_PURGED]);
const ACTED_UPON = new Set([SESSION_REVOKED, TOKEN_CLAIMS_CHANGE, ...ACCOUNT]);
