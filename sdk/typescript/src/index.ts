/**
 * Protects an MCP server: verifies access tokens, asks a scope per tool, refuses what was revoked.
 *
 * `protect` is express middleware and wraps fetch-style handlers; `Verifier` decides about tokens without HTTP.
 */

export type { AccessClaims, Actor } from './claims.js';
export { SetError, SetupError, UnavailableError, VerifyError } from './errors.js';
export type { Events, Receiver, Status } from './events.js';
export type { AuthInfo, ProtectOptions } from './guard.js';
export { protect, type Caller, type FetchHandler, type NodeRequest, type Protection } from './protect.js';
export { toolScope } from './scopes.js';
export type { SecurityEvent } from './sets.js';
export { Verifier, type VerifierOptions } from './verifier.js';
export type { Clock, Credentials } from './web.js';
