/** Asks the authorization server whether a token still holds (RFC 7662). */

import type { AccessClaims } from './claims.js';
import { UnavailableError, VerifyError, WebError } from './errors.js';
import { objectIn, basic, type Credentials, type Web } from './web.js';

/** Keeps no answers: what was true a moment ago is what a revocation changes. */
export class Introspector {
  constructor(
    private readonly web: Web,
    private readonly credentials: Credentials,
  ) {}

  /** The claims again, without the scopes that the answer does not name (RFC 7662 §2.2). */
  async confirm(token: string, claims: AccessClaims): Promise<AccessClaims> {
    const { active, scope } = await this.#ask(token);
    if (!active) throw new VerifyError('the token has been revoked');
    if (scope === undefined) return claims;
    const told = scope.split(' ');
    return { ...claims, scopes: claims.scopes.filter((held) => told.includes(held)) };
  }

  async #ask(token: string): Promise<{ active: boolean; scope?: string }> {
    try {
      const url = await this.web.endpoint('introspection_endpoint');
      const body = new URLSearchParams({ token, token_type_hint: 'access_token' });
      const headers = { authorization: basic(this.credentials), accept: 'application/json' };
      const answer = await this.web.send(url, { method: 'POST', headers, body });
      const { active, scope } = answer.status === 200 ? objectIn(answer) : {};
      if (typeof active !== 'boolean' || !['string', 'undefined'].includes(typeof scope)) {
        throw new WebError(`${url} answered ${answer.status} and something else`, answer.status);
      }
      return { active, ...(typeof scope === 'string' && { scope }) };
    } catch (error) {
      if (!(error instanceof WebError)) throw error;
      console.warn(`writ: the authorization server cannot be asked about a token: ${error.message}`);
      throw new UnavailableError('the authorization server cannot be asked about the token at the moment');
    }
  }
}
