/**
 * Reads a JSON-RPC body just far enough to know what it asks for.
 *
 * Whatever another reader could understand differently is refused: the decision must be about exactly what the
 * server will see.
 */

import { isObject, readJson, RepeatedMember, type Members } from './strict.js';

const MAX_BATCH = 64;

/** Characters (MCP allows 128): a challenge repeats every name, and must fit a header. */
const MAX_TOOL_NAME = 128;

const MEMBERS = ['jsonrpc', 'id', 'method', 'params', 'result', 'error'];
const PARAMS = ['name', 'uri'];

/** What one message asks for: a tool, another method, or nothing (a response). */
export interface Call {
  tool?: string;
  method?: string;
}

/** Why a body was refused (JSON-RPC 2.0 §5.1). */
export class RpcError extends Error {
  constructor(
    readonly code: number,
    message: string,
  ) {
    super(message);
  }
}

/** The message or batch in these octets. */
export function parseBody(body: Uint8Array): unknown {
  try {
    return readJson(body);
  } catch (error) {
    if (error instanceof RepeatedMember) throw invalid(ONE_OBJECT);
    throw new RpcError(-32700, 'Parse error');
  }
}

/** The calls in a body: one message, or a batch of them. */
export function readCalls(body: unknown, headers: Headers): Call[] {
  const messages: unknown[] = Array.isArray(body) ? body : [body];
  if (messages.length === 0) throw invalid('the batch is empty');
  if (messages.length > MAX_BATCH) throw invalid('a batch has at most 64 messages');
  return messages.map((message) => readCall(message, headers));
}

const ONE_OBJECT = 'each message is one object whose members are not repeated';

function readCall(message: unknown, headers: Headers): Call {
  if (!isObject(message)) throw invalid(ONE_OBJECT);
  exact(message, MEMBERS);
  const { method, params } = message;
  if (isObject(params)) exact(params, PARAMS);
  else if (params !== undefined && params !== null && !Array.isArray(params)) throw invalid('params is an object');
  if ('method' in message && typeof method !== 'string') throw invalid('method is a string');
  const named = isObject(params) ? params : {};
  agree(headers, method as string | undefined, named);
  const answers = 'result' in message || 'error' in message;
  if (typeof method !== 'string') {
    if (!answers) throw invalid('there is no method');
    return {};
  }
  if (answers) throw invalid('a message is a request or a response, not both');
  if (method === 'tools/call') return { tool: toolName(named['name']), method };
  // Some reader may fold case or trim; then this would be a tool call.
  if (method.trim().toLowerCase() === 'tools/call') throw invalid('the method is tools/call, exactly');
  return { method };
}

function toolName(name: unknown): string {
  if (typeof name !== 'string' || name === '') throw invalid('tools/call needs params.name');
  if ([...name].length > MAX_TOOL_NAME) throw invalid('the name of a tool has at most 128 characters');
  if (/\p{Surrogate}/u.test(name)) throw invalid('the name of a tool is not Unicode text');
  return name;
}

function exact(members: Members, known: string[]): void {
  if (Object.keys(members).some((name) => !known.includes(name) && known.includes(name.toLowerCase()))) {
    throw invalid('a member name in another letter case');
  }
}

/** Newer revisions of MCP repeat method and name in headers. The body decides, and they may not differ. */
function agree(headers: Headers, method: string | undefined, params: Members): void {
  const [saidMethod, saidName] = [headers.get('mcp-method'), headers.get('mcp-name')];
  const disagree = invalid('Mcp-Method or Mcp-Name contradicts the body');
  if (saidMethod !== null && saidMethod !== method) throw disagree;
  if (saidName === null || !['tools/call', 'prompts/get', 'resources/read'].includes(method ?? '')) return;
  if (headerText(saidName) !== (method === 'resources/read' ? params['uri'] : params['name'])) throw disagree;
}

/** Values that do not fit a header are written `=?base64?…?=`. */
function headerText(value: string): string {
  const encoded = /^=\?base64\?(.*)\?=$/.exec(value)?.[1];
  return encoded === undefined ? value : Buffer.from(encoded, 'base64').toString();
}

const invalid = (why: string) => new RpcError(-32600, `Invalid request: ${why}`);
