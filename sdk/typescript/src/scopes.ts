/** Which scope an operation needs. */

import type { AccessClaims } from './claims.js';
import { SetupError } from './errors.js';
import type { Call } from './rpc.js';

const isScopeOctet = (octet: number) => octet >= 0x21 && octet <= 0x7e && octet !== 0x22 && octet !== 0x5c;

/**
 * The scope that allows calling the tool of this name: `tool:` and the name.
 *
 * Octets that a scope cannot hold (RFC 6749 §3.3), and `%`, are percent-encoded, so that no two tools share one.
 */
export function toolScope(name: string): string {
  const encoded = (octet: number) => `%${octet.toString(16).toUpperCase().padStart(2, '0')}`;
  const written = [...new TextEncoder().encode(name)].map((octet) =>
    isScopeOctet(octet) && octet !== 0x25 ? String.fromCharCode(octet) : encoded(octet),
  );
  return `tool:${written.join('')}`;
}

/** A scope of this resource that may be asked for and announced. */
export function checkedScope(scope: string): string {
  if (scope === 'offline_access') {
    throw new SetupError('scope "offline_access": a resource neither needs nor announces it');
  }
  if (scope === '' || ![...new TextEncoder().encode(scope)].every(isScopeOctet)) {
    throw new SetupError(
      `scope ${JSON.stringify(scope)}: only printable ASCII without spaces, quotation marks and backslashes is allowed`,
    );
  }
  return scope;
}

export interface PolicyOptions {
  /** The tools to announce, or a mapping to the scopes they need in place of `tool:NAME`. */
  tools?: readonly string[] | Readonly<Record<string, string>>;
  /** Methods that need a scope; the others need only a valid token. */
  methods?: Readonly<Record<string, string>>;
  /** Wide scopes, and the narrow ones they stand for. */
  scopeIncludes?: Readonly<Record<string, readonly string[]>>;
}

/** What the author declared. */
export class Policy {
  readonly #tools: Map<string, string>;
  readonly #methods: Map<string, string>;
  readonly #includes: Map<string, readonly string[]>;

  constructor({ tools = [], methods = {}, scopeIncludes = {} }: PolicyOptions) {
    const named = isList(tools) ? tools.map((name) => [name, toolScope(name)] as const) : Object.entries(tools);
    this.#tools = new Map(named);
    this.#methods = new Map(Object.entries(methods));
    this.#includes = new Map(Object.entries(scopeIncludes));
    this.announced.forEach(checkedScope);
  }

  /** Every scope that was declared. */
  get announced(): string[] {
    const wide = [...this.#includes].flatMap(([scope, narrow]) => [scope, ...narrow]);
    return [...this.#tools.values(), ...this.#methods.values(), ...wide];
  }

  /** Everything these calls need, when the token does not allow all of it. */
  missing(claims: AccessClaims, calls: readonly Call[]): string[] {
    const needed = new Set(calls.flatMap((call) => this.#needed(call) ?? []));
    const held = this.#held(claims);
    return [...needed].every((scope) => held.has(scope)) ? [] : [...needed].sort();
  }

  #needed({ tool, method }: Call): string | undefined {
    if (tool !== undefined) return this.#tools.get(tool) ?? toolScope(tool);
    return method === undefined ? undefined : this.#methods.get(method);
  }

  #held({ scopes }: AccessClaims): Set<string> {
    const held = new Set(scopes);
    // A set's own iterator also visits what is added on the way.
    for (const scope of held) this.#includes.get(scope)?.forEach((narrow) => held.add(narrow));
    return held;
  }
}

const isList = (tools: NonNullable<PolicyOptions['tools']>): tools is readonly string[] => Array.isArray(tools);
