/** The answers given in the server's place: challenges (RFC 6750 §3, RFC 9728 §5.1) and refused bodies. */

import type { Members } from './strict.js';

/** A whole answer. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly body: Members | undefined,
    readonly more: Record<string, string> = {},
  ) {
    super(`answered ${status}`);
  }

  get headers(): Record<string, string> {
    const json = { 'content-type': 'application/json', 'cache-control': 'no-store' };
    return { ...(this.body && json), ...this.more };
  }

  get text(): string | null {
    return this.body === undefined ? null : JSON.stringify(this.body);
  }
}

/** What challenges tell about getting in. */
export class Entrance {
  constructor(
    readonly metadataUrl: string,
    /** The scopes to ask for before it is known what the caller wants. */
    private readonly scope: string,
  ) {}

  /** Nothing went wrong yet, so the challenge has no error code (RFC 6750 §3.1). */
  noToken(): Refusal {
    const body = this.#body('invalid_token', 'an access token is needed in the Authorization header', '');
    return new Refusal(401, body, this.#challenge('', this.scope));
  }

  invalidToken(why: string): Refusal {
    return this.#refusal(401, 'invalid_token', why, this.scope);
  }

  invalidRequest(why: string): Refusal {
    return this.#refusal(400, 'invalid_request', why, '');
  }

  insufficientScope(needed: string): Refusal {
    return this.#refusal(403, 'insufficient_scope', 'the access token does not allow this', needed);
  }

  #refusal(status: number, code: string, why: string, scope: string): Refusal {
    const error = `error="${code}", error_description="${why}", `;
    return new Refusal(status, this.#body(code, why, scope), this.#challenge(error, scope));
  }

  #challenge(error: string, scope: string): Record<string, string> {
    const scopes = scope && `scope="${scope}", `;
    return { 'www-authenticate': `Bearer ${error}${scopes}resource_metadata="${this.metadataUrl}"` };
  }

  #body(error: string, why: string, scope: string): Members {
    return { error, error_description: why, resource_metadata: this.metadataUrl, ...(scope && { scope }) };
  }
}

/** Nobody's fault who asks: a 401 would make clients throw good tokens away. */
export const unavailable = (why: string) =>
  new Refusal(503, { error: 'temporarily_unavailable', error_description: why }, { 'retry-after': '2' });

export const unreadable = (status: number, why: string, more: Record<string, string> = {}) =>
  new Refusal(status, { error: 'invalid_request', error_description: why }, more);

export const badRpc = (code: number, message: string) =>
  new Refusal(400, { jsonrpc: '2.0', id: null, error: { code, message } });
