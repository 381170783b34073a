/** A setting is wrong; the words say which, and what is allowed. */
export class SetupError extends Error {
  override name = 'SetupError';
}

/** The token is refused: 401 `invalid_token` (RFC 6750 §3.1). The words are fit for a client. */
export class VerifyError extends Error {
  override name = 'VerifyError';
}

/** The token cannot be judged at the moment and may well be good: 503. */
export class UnavailableError extends VerifyError {
  override name = 'UnavailableError';
}

/** A security event token is refused, with a registered code (RFC 8935 §2.4, SSF 1.0). */
export class SetError extends Error {
  override name = 'SetError';

  constructor(
    readonly err: string,
    readonly description: string,
  ) {
    super(`${err}: ${description}`);
  }
}

/** Of a security event token that is signed with a key which the transmitter does not publish, or not yet. */
export class UnknownKeyError extends SetError {
  override name = 'UnknownKeyError';

  constructor() {
    super('invalid_key', 'the issuer has no such key');
  }
}

/** The authorization server could not be asked, or answered something else. */
export class WebError extends Error {
  override name = 'WebError';

  constructor(
    words: string,
    readonly status = 0,
    readonly retryAfter?: number,
  ) {
    super(words);
  }
}
