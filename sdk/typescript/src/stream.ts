/** This server's stream of security events at the transmitter (SSF 1.0 §8, RFC 8936, and Writ's feed). */

import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { SetupError, WebError } from './errors.js';
import { MAX_SET } from './sets.js';
import { isObject, type Members } from './strict.js';
import { asWebError, basic, jsonIn, objectIn, wordsOf, type Answer, type Clock, type Credentials, type Web } from './web.js';

const PUSH = 'urn:ietf:rfc:8935';
const POLL = 'urn:ietf:rfc:8936';

/** Seconds to wait for the answer to a poll; transmitters hold it for about 25. */
const LONG_POLL = 40;

/** SETs in the answer to a poll, at most. */
const MAX_EVENTS = 100;

/** Octets of that answer: as many SETs, each as long as can be, and then some. */
const MAX_ANSWER = 8 * 1024 * 1024;

/** Seconds of silence after which a feed is taken for dead; it says something every 15. */
const IDLE_FEED = 45;

/** SETs that were refused, by `jti`. */
export type Errors = Record<string, { err: string; description: string }>;

/** One event of a feed. */
export interface FeedEvent {
  /** `set`, or `end` after the last one of a replay that nothing follows; others may be added. */
  kind: string;
  jti: string;
  data: string;
}

/** What the stream is to be. */
export interface Wanted {
  /** Under which name it is found again; made up when there is none. */
  instance: string | undefined;
  events: readonly string[];
  /** For delivery by push (RFC 8935): where to, and with which `Authorization` header. */
  push?: { url: string; authorization: string };
}

/** A request to the transmitter, and which answers are good. */
interface Request {
  body?: Members;
  ok?: number[];
  signal?: AbortSignal;
}

/** Finds or makes the stream, keeps it enabled, and reads from it. */
export class Stream {
  readonly #wanted: { description: string; events_requested: readonly string[]; delivery: Members & { method: string } };
  readonly #isMadeUp: boolean;
  #token = '';
  #tokenUntil = -Infinity;
  #metadata: Members = {};
  #id = '';
  #pollUrl = '';

  constructor(
    private readonly web: Web,
    private readonly resource: string,
    private readonly credentials: Credentials,
    private readonly clock: Clock,
    wanted: Wanted,
  ) {
    const { push, instance } = wanted;
    this.#isMadeUp = instance === undefined;
    this.#wanted = {
      description: `writ-resource ${instance ?? madeUpName()}`,
      events_requested: wanted.events,
      // Transmitters never tell the header again, so it is set anew at every start.
      delivery: push
        ? { method: PUSH, endpoint_url: push.url, authorization_header: push.authorization }
        : { method: POLL },
    };
  }

  /** Subject members without whose understanding an event must be discarded. */
  get critical(): string[] {
    const members = this.#metadata['critical_subject_members'];
    return Array.isArray(members) ? members : [];
  }

  /** Whether the transmitter can send again what was sent before. */
  get hasFeed(): boolean {
    return 'feed_endpoint' in this.#metadata;
  }

  /**
   * Has the stream there, as wanted and enabled. Answers whether events may have been lost meanwhile. Throws
   * `SetupError` when it is not the stream this server can trust.
   */
  async prepare(signal: AbortSignal): Promise<boolean> {
    this.web.forget();
    this.#metadata = await this.web.transmitter();
    const configuration = this.#endpoint('configuration_endpoint');
    let stream = this.#ours(await this.#api('GET', configuration, { signal }));
    const isNew = stream === undefined;
    if (stream === undefined) {
      stream = await this.#create(configuration, signal);
    } else if (!this.#isAsWanted(stream)) {
      const body = { stream_id: stream['stream_id'], ...this.#wanted };
      stream = objectIn(await this.#api('PATCH', configuration, { body, signal }));
    }
    this.#id = String(stream['stream_id']);
    await this.#trust(stream, configuration, signal);
    if (this.#wanted.delivery.method === POLL) {
      this.#pollUrl = this.web.named((stream['delivery'] ?? {}) as Members, 'endpoint_url');
    }
    const statusUrl = this.#endpoint('status_endpoint');
    const { status } = objectIn(await this.#api('GET', `${statusUrl}?${this.#query()}`, { signal }));
    if (status !== 'enabled') {
      await this.#api('POST', statusUrl, { body: { stream_id: this.#id, status: 'enabled' }, signal });
    }
    // A paused stream keeps what arises, a disabled one does not.
    return isNew || status === 'disabled';
  }

  /** Deletes the stream, unless its name is known to whoever comes next. */
  async leave(): Promise<void> {
    if (!this.#isMadeUp || this.#id === '') return;
    const url = `${this.#endpoint('configuration_endpoint')}?${this.#query()}`;
    this.#id = '';
    await this.#api('DELETE', url, { ok: [204, 404] });
  }

  /** Asks for a verification event with this state. */
  async verify(state: string, signal: AbortSignal): Promise<void> {
    const body = { stream_id: this.#id, state };
    await this.#api('POST', this.#endpoint('verification_endpoint'), { body, ok: [204], signal });
  }

  /** Acknowledges, and waits for SETs: pairs of `jti` and SET. */
  async poll(ack: string[], errors: Errors, signal: AbortSignal): Promise<[string, string][]> {
    const body = { maxEvents: MAX_EVENTS, ack, ...given(errors) };
    const polled = { body, wait: LONG_POLL, limit: MAX_ANSWER, signal };
    const { sets } = objectIn(await this.#api('POST', this.#pollUrl, polled));
    const pairs = isObject(sets) ? Object.entries(sets) : undefined;
    if (!pairs?.every((pair): pair is [string, string] => typeof pair[1] === 'string')) {
      throw new WebError('the answer to a poll has no sets');
    }
    return pairs;
  }

  /** Acknowledges what came by the feed. */
  async acknowledge(ack: string[], errors: Errors, signal: AbortSignal): Promise<void> {
    const body = { ack, maxEvents: 0, returnImmediately: true, ...given(errors) };
    await this.#api('POST', this.#pollUrl, { body, signal });
  }

  /** Opens the feed: its events, until the transmitter ends it or `signal` does. */
  async feed(
    replay: number | undefined,
    last: string | undefined,
    signal: AbortSignal,
  ): Promise<AsyncIterable<FeedEvent>> {
    const url = `${this.#endpoint('feed_endpoint')}?${this.#query(replay)}`;
    const headers = {
      accept: 'text/event-stream',
      authorization: `Bearer ${await this.#bearer()}`,
      ...(last !== undefined && { 'last-event-id': last }),
    };
    const silence = new AbortController();
    const watchdog = setTimeout(() => silence.abort(new WebError('the feed is silent')), IDLE_FEED * 1000).unref();
    const limits = AbortSignal.any([signal, silence.signal]);
    const response = await fetch(url, { headers, redirect: 'manual', signal: limits }).catch((error: unknown) => {
      clearTimeout(watchdog);
      throw asWebError('the feed', error);
    });
    if (response.status !== 200 || response.body === null) {
      clearTimeout(watchdog);
      this.#refused(response.status);
      await response.body?.cancel();
      throw new WebError(`the feed answered ${response.status}`, response.status);
    }
    return serverSentEvents(response.body, watchdog);
  }

  async #create(configuration: string, signal: AbortSignal): Promise<Members> {
    try {
      return objectIn(await this.#api('POST', configuration, { body: this.#wanted, ok: [201], signal }));
    } catch (error) {
      if (!(error instanceof WebError) || error.status !== 403) throw error;
      const words =
        "the transmitter lets this client have no more streams (of Writ's clients each may have 16 unless set " +
        'otherwise): `writ stream list` shows them, those of no process can be deleted, and a process with an ' +
        '`instance` name takes up its own again';
      throw new WebError(`${words}: ${error.message}`, 403);
    }
  }

  #ours(answer: Answer): Members | undefined {
    const streams = jsonIn(answer);
    if (!Array.isArray(streams)) throw new WebError('the list of streams is not a list');
    return streams.filter(isObject).find(({ description }) => description === this.#wanted.description);
  }

  #isAsWanted({ delivery, events_requested: events }: Members): boolean {
    const method = isObject(delivery) ? delivery['method'] : undefined;
    const sorted = (names: unknown) => JSON.stringify(Array.isArray(names) ? [...names].sort() : []);
    const isSame = sorted(events) === sorted(this.#wanted.events_requested);
    return isSame && method === POLL && this.#wanted.delivery.method === POLL;
  }

  async #trust({ iss, aud }: Members, configuration: string, signal: AbortSignal): Promise<void> {
    const isForUs = (Array.isArray(aud) ? aud : [aud]).includes(this.resource);
    if (iss === this.web.issuer && isForUs) return;
    await this.#api('DELETE', `${configuration}?${this.#query()}`, { ok: [204, 404], signal });
    throw new SetupError(`the stream is of ${iss} for ${JSON.stringify(aud)}, not for ${this.resource}`);
  }

  #endpoint(name: string): string {
    return this.web.named(this.#metadata, name);
  }

  #query(replay?: number): string {
    const query = new URLSearchParams({ stream_id: this.#id });
    if (replay !== undefined) query.set('replay', String(replay));
    return query.toString();
  }

  async #api(
    method: string,
    url: string,
    { body, ok = [200], signal, ...limits }: Request & { wait?: number; limit?: number },
  ): Promise<Answer> {
    const headers: Record<string, string> = {
      accept: 'application/json',
      authorization: `Bearer ${await this.#bearer()}`,
      ...(body && { 'content-type': 'application/json' }),
      ...(body && 'setErrs' in body && { 'content-language': 'en' }),
    };
    const more = { ...(body && { body: JSON.stringify(body) }), ...(signal && { signal }), ...limits };
    const answer = await this.web.send(url, { method, headers, ...more });
    if (ok.includes(answer.status)) return answer;
    this.#refused(answer.status);
    const after = answer.headers.get('retry-after') ?? '';
    const words = `${method} ${url} answered ${answer.status} ${wordsOf(answer)}`;
    throw new WebError(words, answer.status, /^\d+$/.test(after) ? Number(after) : undefined);
  }

  #refused(status: number): void {
    if (status === 401) this.#tokenUntil = -Infinity;
  }

  /** A token for the SSF API, by this server's own credentials (RFC 6749 §4.4). */
  async #bearer(): Promise<string> {
    if (this.clock() < this.#tokenUntil) return this.#token;
    const url = await this.web.endpoint('token_endpoint');
    const body = new URLSearchParams({ grant_type: 'client_credentials', scope: 'ssf.manage' });
    const headers = { authorization: basic(this.credentials), accept: 'application/json' };
    const answer = await this.web.send(url, { method: 'POST', headers, body });
    if (answer.status !== 200) {
      throw new WebError(`the token endpoint answered ${answer.status} ${wordsOf(answer)}`, answer.status);
    }
    const { access_token: token, expires_in: lifetime = 0 } = objectIn(answer);
    if (typeof token !== 'string' || typeof lifetime !== 'number') {
      throw new WebError('the token endpoint gave no token');
    }
    [this.#token, this.#tokenUntil] = [token, this.clock() + lifetime - Math.min(30, lifetime / 2)];
    return token;
  }
}

/** A name that no other process has. */
const madeUpName = () => [hostname(), randomBytes(3).toString('hex')].filter(Boolean).join('-');

const given = (errors: Errors) => (Object.keys(errors).length > 0 ? { setErrs: errors } : {});

/** Each event (HTML, server-sent events); what is not finished when the stream ends is none. */
async function* serverSentEvents(
  body: ReadableStream<Uint8Array>,
  watchdog: NodeJS.Timeout,
): AsyncGenerator<FeedEvent> {
  const decoder = new TextDecoder();
  let [rest, kind, jti, data] = ['', '', '', ''];
  try {
    for await (const chunk of body) {
      watchdog.refresh();
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      if (rest.length + data.length > 2 * MAX_SET) throw new WebError('an event of the feed is too long');
      for (const line of lines) {
        const [, field = '', value = ''] = /^([^:]*):? ?(.*?)\r?$/.exec(line) ?? [];
        if (field === 'id') jti = value;
        else if (field === 'event') kind = value;
        else if (field === 'data') data += `${value}\n`;
        else if (/^\r?$/.test(line)) {
          if (data !== '') yield { kind, jti, data: data.slice(0, -1) };
          [kind, data] = ['', ''];
        }
      }
    }
  } catch (error) {
    throw asWebError('the feed', error);
  } finally {
    clearTimeout(watchdog);
  }
}
