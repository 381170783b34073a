/** Which tokens a security event is about (RFC 9493, SSF 1.0). */

import type { AccessClaims } from './claims.js';
import { SetError } from './errors.js';
import { isObject, isText, type Members } from './strict.js';

/** Tokens for which all members hold; without any, every token of the issuer. */
export interface Selector {
  user?: string;
  client?: string;
  /** (`jti`, …) for one token, (`grant_id`, …) for all tokens of a grant. */
  session?: readonly ['jti' | 'grant_id', string];
}

/** What a `sub_id` means here. */
export interface Subject {
  /** Undefined when it selects none of the issuer's tokens, or says nothing here (`unmapped`). */
  selector?: Selector;
  /** Members that say nothing here. Without them the selector is wider than what was meant. */
  unmapped: string[];
  /** Whether one of those must be understood, so that the event has to be discarded. */
  critical: boolean;
}

/** The subject is of another issuer. */
const ELSEWHERE = Symbol('elsewhere');

/** Maps a `sub_id`; throws `SetError` when it is not a subject identifier at all. */
export function readSubject(subId: unknown, issuer: string, critical: readonly string[] = []): Subject {
  const members = Object.entries(membersOf(subId, issuer));
  const mapped = members.map(([name, member]) => map(name, member, issuer));
  if (mapped.includes(ELSEWHERE)) return { unmapped: [], critical: false };
  const unmapped = members.filter((_, index) => mapped[index] === undefined).map(([name]) => name);
  return {
    ...(unmapped.length < members.length && { selector: Object.assign({}, ...mapped) as Selector }),
    unmapped,
    critical: unmapped.some((name) => critical.includes(name)),
  };
}

/** Where a selector is found again. */
export const nameOf = ({ user, client, session }: Selector): string =>
  JSON.stringify([user ?? null, client ?? null, session ?? null]);

/** Every selector that selects a token with these claims; a dozen, unless many actors are in it. */
export function* selectorsOf(claims: AccessClaims, issuer: string): Generator<Selector> {
  const acting = claims.actors.filter(({ iss }) => iss === undefined || iss === issuer).map(({ sub }) => sub);
  const sessions: Selector[] = [{}, { session: ['jti', claims.jti] }];
  if (claims.grantId !== undefined) sessions.push({ session: ['grant_id', claims.grantId] });
  for (const user of [{}, { user: claims.sub }]) {
    for (const client of [undefined, ...new Set([claims.clientId, ...acting])]) {
      for (const session of sessions) yield { ...user, ...(client !== undefined && { client }), ...session };
    }
  }
}

function membersOf(subId: unknown, issuer: string): Members {
  const format = formatOf(subId);
  const subject = subId as Members;
  if (format === 'aliases') return alias(subject.identifiers, issuer);
  if (format !== 'complex') return { [placeOf(subject)]: subject };
  const { format: _, ...members } = subject;
  if (Object.keys(members).length === 0 || Object.values(members).some(isNested)) {
    throw new SetError('invalid_request', 'sub_id: complex needs members, and each is a simple identifier');
  }
  return members;
}

/** Of several names for one subject (RFC 9493 §3.2.8) the one that says most here. */
function alias(names: unknown, issuer: string): Members {
  if (!Array.isArray(names) || names.length === 0 || names.some(isNested)) {
    throw new SetError('invalid_request', 'sub_id: aliases needs identifiers, and each is a simple one');
  }
  const withIssuer = (names as Members[]).filter((name) => ['user', 'session'].includes(placeOf(name)));
  const best = withIssuer.find(({ iss }) => iss === issuer) ?? withIssuer[0] ?? (names[0] as Members);
  return { [placeOf(best)]: best };
}

function formatOf(identifier: unknown): string {
  if (!isObject(identifier) || typeof identifier.format !== 'string') {
    throw new SetError('invalid_request', 'sub_id: a subject identifier is an object with a format (RFC 9493 §3)');
  }
  return identifier.format;
}

const isNested = (identifier: unknown): boolean => ['complex', 'aliases'].includes(formatOf(identifier));

/** Which member of a complex subject a simple one stands for. */
function placeOf(simple: Members): string {
  const format = formatOf(simple);
  if (format === 'iss_sub') return 'user';
  return format === 'jwt_id' ? 'session' : format;
}

/** What a member selects by; undefined when it says nothing here. */
function map(name: string, member: unknown, issuer: string): Selector | typeof ELSEWHERE | undefined {
  const identifier = member as Members;
  const ofIssuer = (claim: string, selector: (value: string) => Selector) => {
    const value = text(identifier, claim);
    return text(identifier, 'iss') === issuer ? selector(value) : ELSEWHERE;
  };
  switch (`${name} ${formatOf(identifier)}`) {
    case 'user iss_sub':
      return ofIssuer('sub', (user) => ({ user }));
    case 'application iss_sub':
      return ofIssuer('sub', (client) => ({ client }));
    case 'session jwt_id':
      return ofIssuer('jti', (jti) => ({ session: ['jti', jti] }));
    case 'session opaque':
      return { session: ['grant_id', text(identifier, 'id')] };
    case 'tenant opaque':
      // One issuer is one tenant: all of its tokens are meant.
      text(identifier, 'id');
      return {};
    default:
      return undefined;
  }
}

function text(identifier: Members, name: string): string {
  const value = identifier[name];
  if (!isText(value)) throw new SetError('invalid_request', `sub_id: ${identifier.format} needs ${name}`);
  return value;
}
