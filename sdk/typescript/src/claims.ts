/** The claims of an access token (RFC 9068 §2.2) and who acts through it (RFC 8693 §4.1). */

import { VerifyError } from './errors.js';
import { isObject, isText, isTime, type Members } from './strict.js';

/** How long a chain of actors may be to be read at all. */
export const MAX_ACTORS = 16;

/** One actor of the `act` chain. */
export interface Actor {
  sub: string;
  /** Whose name for the actor `sub` is, when it is not the token's issuer's. */
  iss?: string;
}

/** What an access token says. */
export interface AccessClaims {
  iss: string;
  sub: string;
  aud: string[];
  exp: number;
  iat: number;
  nbf?: number;
  jti: string;
  clientId: string;
  /** What it allows, less whatever was taken from it since it was issued. */
  scopes: string[];
  grantId?: string;
  /** From the current actor back to the first; empty when nobody acts for the subject. */
  actors: Actor[];
  /** Who makes this call: the current actor, or the client when there is none. */
  caller: string;
  /** Whether the token is bound to a key or a certificate (`cnf`, RFC 7800 §3.1). */
  bound: boolean;
  /** Every claim, as it is in the token. */
  all: Readonly<Members>;
}

/** Checks the shape of every claim; whether the token holds is for the verifier. */
export function readClaims(all: Members): AccessClaims {
  const { aud, scope = '', grant_id: grantId } = all;
  const audience = Array.isArray(aud) ? aud : [aud];
  const nbf = 'nbf' in all ? time(all, 'nbf') : undefined;
  if (audience.length === 0 || !audience.every(isText) || typeof scope !== 'string') throw malformed();
  if (grantId !== undefined && !isText(grantId)) throw malformed();
  const actors = readActors(all.act);
  const clientId = text(all, 'client_id');
  return {
    iss: text(all, 'iss'),
    sub: text(all, 'sub'),
    aud: audience,
    exp: time(all, 'exp'),
    iat: time(all, 'iat'),
    ...(nbf !== undefined && { nbf }),
    jti: text(all, 'jti'),
    clientId,
    scopes: scope.split(' ').filter(Boolean),
    ...(grantId !== undefined && { grantId }),
    actors,
    caller: actors[0]?.sub ?? clientId,
    bound: 'cnf' in all,
    all,
  };
}

function readActors(act: unknown): Actor[] {
  const chain: Actor[] = [];
  for (let actor = act; actor !== undefined; actor = actor.act) {
    if (!isObject(actor) || !isText(actor['sub']) || chain.length === MAX_ACTORS) throw malformed();
    const { sub, iss } = actor;
    if (iss !== undefined && !isText(iss)) throw malformed();
    chain.push(iss === undefined ? { sub: sub as string } : { sub: sub as string, iss });
  }
  return chain;
}

function text(claims: Members, name: string): string {
  const value = claims[name];
  if (!isText(value)) throw malformed();
  return value;
}

function time(claims: Members, name: string): number {
  const value = claims[name];
  if (!isTime(value)) throw malformed();
  return value;
}

const malformed = () => new VerifyError('the token claims are malformed');
