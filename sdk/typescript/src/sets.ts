/** Security event tokens (RFC 8417): which are genuine, and what they say. */

import { SetError, UnknownKeyError, VerifyError } from './errors.js';
import type { Keys } from './keys.js';
import { ALGORITHMS, isObject, isText, isTime, SignatureError, Unverified, type Members } from './strict.js';
import type { Clock } from './web.js';

/** Octets of the longest SET that is read. */
export const MAX_SET = 64 * 1024;

/** Seconds that `iat` of a SET may be ahead of this machine's clock. */
const MAX_AHEAD = 60;

export const CAEP = 'https://schemas.openid.net/secevent/caep/event-type/';
export const RISC = 'https://schemas.openid.net/secevent/risc/event-type/';
const SSF = 'https://schemas.openid.net/secevent/ssf/event-type/';

export const SESSION_REVOKED = `${CAEP}session-revoked`;
export const TOKEN_CLAIMS_CHANGE = `${CAEP}token-claims-change`;
export const ACCOUNT_DISABLED = `${RISC}account-disabled`;
export const ACCOUNT_ENABLED = `${RISC}account-enabled`;
export const ACCOUNT_PURGED = `${RISC}account-purged`;
export const VERIFICATION = `${SSF}verification`;
export const STREAM_UPDATED = `${SSF}stream-updated`;

/** What a genuine SET says. */
export interface SecurityEvent {
  jti: string;
  /** The URI of the event type. */
  type: string;
  subId: Members;
  payload: Members;
  /** When it happened: `event_timestamp`, else `toe`, else `iat`; seconds. */
  time: number;
  iat: number;
  /** The same for all SETs that come from one cause. */
  txn?: string;
}

/** Reads the SETs of one issuer for one audience. */
export class SetReader {
  constructor(
    private readonly keys: Keys,
    private readonly issuer: string,
    private readonly audience: string,
    private readonly clock: Clock,
  ) {}

  /**
   * The checks in the order of their answers. Throws `SetError` with what is wrong, `UnavailableError` when the
   * signature cannot be checked at the moment.
   */
  async read(token: string): Promise<SecurityEvent> {
    const unverified = parse(token);
    const { kid, alg } = unverified;
    const key = kid === undefined ? undefined : await this.keys.find(kid, alg);
    if (key === undefined) throw new UnknownKeyError();
    const claims = await unverified.verify(key).catch((error: Error) => {
      throw new SetError(error instanceof SignatureError ? 'invalid_key' : 'invalid_request', error.message);
    });
    return this.#event(claims);
  }

  #event(claims: Members): SecurityEvent {
    const { aud, iat, jti, sub_id: subId, txn } = claims;
    if (claims.iss !== this.issuer) throw new SetError('invalid_issuer', 'iss is not the issuer of this stream');
    if (!(Array.isArray(aud) ? aud : [aud]).includes(this.audience)) {
      throw new SetError('invalid_audience', 'aud does not name this receiver');
    }
    if (!isTime(iat) || iat > this.clock() + MAX_AHEAD) throw unfit('iat is missing, not a time, or ahead of the clock');
    // SSF 1.0: what has them could pass for another kind of token.
    if ('exp' in claims || 'sub' in claims) throw unfit('a SET has neither exp nor sub');
    if (!isText(jti)) throw unfit('jti is missing');
    if (!isObject(subId)) throw unfit('sub_id is missing');
    const { type, payload } = single(claims.events);
    // What is not issued yet is not ended: a time further ahead is a mistake.
    const time = Math.min(when(claims, payload, iat), Math.max(this.clock(), iat) + MAX_AHEAD);
    return { jti, type, subId, payload, time, iat, ...(typeof txn === 'string' && { txn }) };
  }
}

const unfit = (why: string) => new SetError('invalid_request', why);

function parse(token: string): Unverified {
  if (token.length > MAX_SET) throw unfit('the SET is longer than 64 KiB');
  let unverified: Unverified;
  try {
    unverified = Unverified.parse(token);
  } catch (error) {
    if (error instanceof VerifyError) throw unfit(`not a SET: ${error.message}`);
    throw error;
  }
  // An access token is no SET, though one key may sign both (RFC 8725 §3.11).
  if (!unverified.isTyp('secevent+jwt')) throw unfit('typ is not secevent+jwt');
  if (!(ALGORITHMS as readonly string[]).includes(unverified.alg)) {
    throw unfit('the signature algorithm is not accepted');
  }
  return unverified;
}

function single(events: unknown): { type: string; payload: Members } {
  const entries = isObject(events) ? Object.entries(events) : [];
  const [entry] = entries;
  if (entry === undefined || entries.length > 1) throw unfit('events needs exactly one member');
  const [type, payload] = entry;
  if (!isObject(payload)) throw unfit('the event is not an object');
  const shape = SHAPES.get(type);
  if (shape !== undefined && !shape.fits(payload[shape.member])) {
    throw unfit(`${shape.member} of the event is not ${shape.wanted}`);
  }
  return { type, payload };
}

function when(claims: Members, payload: Members, iat: number): number {
  const said = { event_timestamp: payload.event_timestamp, toe: claims.toe };
  for (const [name, moment] of Object.entries(said)) {
    if (moment === undefined || moment === null) continue;
    if (!isTime(moment)) throw unfit(`${name} is not a time in seconds`);
    return moment;
  }
  return iat;
}

/** Only what is acted upon is looked at: a revocation must not be lost for a member that nobody reads. */
const SHAPES = new Map<string, { member: string; fits: (value: unknown) => boolean; wanted: string }>([
  [
    TOKEN_CLAIMS_CHANGE,
    {
      member: 'claims',
      fits: (claims) => isObject(claims) && ['undefined', 'string'].includes(typeof claims.scope),
      wanted: 'an object whose scope is a string',
    },
  ],
  [
    VERIFICATION,
    {
      member: 'state',
      fits: (state) => state === undefined || typeof state === 'string',
      wanted: 'a string',
    },
  ],
  [
    STREAM_UPDATED,
    {
      member: 'status',
      fits: (status) => ['enabled', 'paused', 'disabled'].includes(status as string),
      wanted: 'a status',
    },
  ],
]);
