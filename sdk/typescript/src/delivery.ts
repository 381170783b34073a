/** Keeps the events coming: subscribes, reads, acknowledges, verifies, and begins again after a failure. */

import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { SetError, SetupError, UnavailableError, UnknownKeyError, WebError } from './errors.js';
import type { Receiver, Settled } from './events.js';
import { ECHO_LIMIT } from './health.js';
import type { Errors, FeedEvent, Stream } from './stream.js';
import type { Clock } from './web.js';

/** Seconds that the clocks of two machines may differ by. */
const CLOCKS = 60;

/** Seconds after which a subscription is not taken for one that fails at once. */
const STEADY = 60;

/** Seconds between two verifications while something is wrong. */
export const pace = { retry: 10 };

/** Verifications without an echo after which everything begins again: the stream may have been stopped. */
const MOST_MISSED = 2;

/** Seconds between two attempts to reach the transmitter, at most. */
const LONGEST_PAUSE = 30;

type Task = (signal: AbortSignal) => Promise<void>;

/** One subscription, for as long as `run` runs. */
export class Delivery {
  #subscription = new AbortController();
  #last: string | undefined;
  #acks: string[] = [];
  #errors: Errors = {};
  #toAcknowledge = new Bell();
  readonly #isPushed: boolean;
  readonly #heartbeats: number;

  constructor(
    private readonly settings: Settled,
    private readonly keep: number,
    private readonly keysFloor: number,
    private readonly stream: Stream,
    private readonly receiver: Receiver,
    private readonly clock: Clock,
  ) {
    this.#isPushed = typeof settings.delivery === 'object';
    this.#heartbeats = settings.maxAge - ECHO_LIMIT;
  }

  /** Ends when `signal` says so, or when the stream turns out to be one that cannot be trusted. */
  async run(signal: AbortSignal): Promise<void> {
    this.receiver.lacksPast = true;
    this.receiver.interrupted = (reason, isLost) => this.#interrupt(reason, isLost);
    for (let failures = 0; !signal.aborted; ) {
      const begun = this.clock();
      const subscription = (this.#subscription = new AbortController());
      try {
        await this.#subscribe(AbortSignal.any([signal, subscription.signal]));
      } catch (error) {
        if (signal.aborted) return;
        if (!subscription.signal.aborted) this.#report(error as Error);
        if (error instanceof SetupError) return;
      }
      // Also after a feed that was ended properly, when it was ended at once.
      failures = this.clock() - begun >= STEADY ? 0 : Math.min(failures + 1, 10);
      const seconds = failures === 0 ? 0 : Math.min(2 ** failures / 8, LONGEST_PAUSE);
      await sleep(seconds * (0.8 + 0.4 * Math.random()), signal);
    }
  }

  /** Leaves nothing behind at the transmitter that nobody comes back to. */
  async close(): Promise<void> {
    await this.stream.leave().catch(({ message }: Error) => {
      console.warn(`writ: the stream of this process is left behind, until it has been idle for too long: ${message}`);
    });
  }

  #report(error: Error): void {
    this.receiver.health.fail(error.message);
    console.warn(`writ: events may be missing: ${error.message}`);
    // Whatever else it is, a server that keeps calls out beats one that stopped listening.
    if (![WebError, SetupError, UnavailableError].some((known) => error instanceof known)) console.error(error);
  }

  /** Has everything begin again. */
  #interrupt(reason: string, isLost: boolean): void {
    this.receiver.lacksPast ||= isLost;
    this.receiver.health.fail(reason);
    console.warn(`writ: events may be missing: ${reason}`);
    this.#subscription.abort();
  }

  async #subscribe(signal: AbortSignal): Promise<void> {
    const { receiver } = this;
    if (await this.stream.prepare(signal)) [receiver.lacksPast, this.#last] = [true, undefined];
    receiver.critical = this.stream.critical;
    if (receiver.lacksPast && !this.stream.hasFeed) {
      receiver.denials.coldStart(this.clock() + CLOCKS);
      receiver.lacksPast = false;
    }
    if (this.settings.delivery === 'feed') return this.#feed(signal, () => false);
    if (receiver.lacksPast && this.#isPushed) {
      await this.#replay(signal);
      receiver.lacksPast = false;
    } else if (receiver.lacksPast) {
      await this.#feed(signal, () => !receiver.lacksPast);
    }
    const main: Task = this.#isPushed ? (until) => this.#wait(until) : (until) => this.#poll(until);
    return beside(signal, main, (until) => this.#heartbeat(until));
  }

  /** Reads the live feed to its end, or until `done`. */
  async #feed(signal: AbortSignal, done: () => boolean): Promise<void> {
    // What is no longer read must not stay open.
    const ended = new AbortController();
    try {
      const events = await this.#open(AbortSignal.any([signal, ended.signal]));
      const read: Task = async () => {
        for await (const { kind, jti, data } of events) {
          if (kind !== 'set') continue;
          await this.#take(jti, data, signal);
          this.#last = jti;
          this.#toAcknowledge.ring();
          if (done()) return;
        }
      };
      await beside(signal, read, (until) => this.#heartbeat(until), (until) => this.#acknowledge(until));
    } finally {
      ended.abort();
    }
  }

  /** Has the past of a stream told whose events are pushed: nothing is live in its feed. */
  async #replay(signal: AbortSignal): Promise<void> {
    for await (const { kind, jti, data } of await this.#open(signal)) {
      if (kind === 'set') await this.#take(jti, data, signal);
      else if (kind === 'end') return void this.#drain(); // pushed SETs are acknowledged by their answers
    }
    throw new WebError('the feed ended before the past was told');
  }

  async #open(signal: AbortSignal): Promise<AsyncIterable<FeedEvent>> {
    // What is told again has its own places in the queue: it says nothing about what was taken over.
    const [past, last] = this.receiver.lacksPast ? [Math.ceil(this.keep), undefined] : [undefined, this.#last];
    const events = await this.stream.feed(past, last, signal);
    // What is asked for from now on is echoed after the replay.
    if (this.receiver.lacksPast) this.receiver.health.fail('catching up with the events of before the start');
    return events;
  }

  async #poll(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const { acks, errors } = this.#drain();
      const asked = this.clock();
      const sets = await this.stream.poll(acks, errors, signal).catch((error: unknown) => {
        this.#putBack(acks, errors);
        throw error;
      });
      for (const [jti, token] of sets) await this.#take(jti, token, signal);
      // A transmitter that does not hold polls.
      if (sets.length === 0 && this.clock() - asked < 1) await sleep(1, signal);
    }
  }

  /** SETs are pushed; looks after the stream when they do not arrive. */
  async #wait(signal: AbortSignal): Promise<void> {
    do await sleep(LONGEST_PAUSE, signal);
    while (this.receiver.health.doubt() === undefined);
  }

  async #take(jti: string, token: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#acceptOnlyOnce(jti, token, signal);
      this.#acks.push(jti);
    } catch (error) {
      if (!(error instanceof SetError)) throw error;
      console.warn(`writ: refused the SET ${jti}: ${error.message}`);
      this.#errors[jti] = { err: error.err, description: error.description };
    }
    if (this.receiver.lacksPast && this.receiver.health.doubt() === undefined) this.receiver.lacksPast = false;
  }

  /** Nobody sends again what was fetched and refused, but its key may be too new to be fetched just now. */
  async #acceptOnlyOnce(jti: string, token: string, signal: AbortSignal): Promise<void> {
    try {
      return await this.receiver.accept(token, jti);
    } catch (error) {
      if (!(error instanceof UnknownKeyError)) throw error;
    }
    await sleep(this.keysFloor, signal);
    signal.throwIfAborted();
    try {
      await this.receiver.accept(token, jti);
    } catch (error) {
      if (error instanceof UnknownKeyError) {
        const until = this.clock() + this.keep;
        this.receiver.denials.doubt(until, 'an event is signed with a key that is not published');
      }
      throw error;
    }
  }

  #drain(): { acks: string[]; errors: Errors } {
    const drained = { acks: this.#acks, errors: this.#errors };
    [this.#acks, this.#errors] = [[], {}];
    return drained;
  }

  #putBack(acks: string[], errors: Errors): void {
    this.#acks.unshift(...acks);
    this.#errors = { ...errors, ...this.#errors };
  }

  async #acknowledge(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#toAcknowledge.rung(signal);
      const { acks, errors } = this.#drain();
      await this.stream.acknowledge(acks, errors, signal).catch((error: Error) => {
        // They go with the next ones, or with `Last-Event-ID`.
        this.#putBack(acks, errors);
        if (!signal.aborted) console.warn(`writ: could not acknowledge: ${error.message}`);
      });
    }
  }

  async #heartbeat(signal: AbortSignal): Promise<void> {
    const { health } = this.receiver;
    // What was proved a moment ago, over another connection, still holds.
    if (health.doubt() === undefined) await sleep(this.#heartbeats - (health.age ?? 0), signal);
    for (let missed = 0; missed < MOST_MISSED; ) {
      const state = randomBytes(16).toString('base64url');
      const seconds = await this.#verify(state, signal);
      await sleep(Math.min(seconds, pace.retry), signal);
      missed = health.awaits(state) ? missed + 1 : 0;
      if (missed === 0) await sleep(Math.max(seconds - pace.retry, 0), signal);
      if (signal.aborted) return;
    }
    this.#interrupt('verifications are not echoed', false);
  }

  /** Asks for a verification; answers after how many seconds to ask for the next one. */
  async #verify(state: string, signal: AbortSignal): Promise<number> {
    const { health } = this.receiver;
    health.asked(state);
    try {
      await this.stream.verify(state, signal);
    } catch (error) {
      const { status = 0, retryAfter = pace.retry, message } = error as WebError;
      if (status) health.withdraw(state); // refused: there will be no echo
      if (status === 429) return Math.max(retryAfter, 1);
      if (!signal.aborted) health.fail(`a verification cannot be asked for: ${message}`);
    }
    return health.doubt() === undefined ? this.#heartbeats : pace.retry;
  }
}

/** Something to wait for, as often as it happens. */
class Bell {
  #isRung = false;
  #wake: (() => void) | undefined;

  ring(): void {
    this.#isRung = true;
    this.#wake?.();
  }

  async rung(signal: AbortSignal): Promise<void> {
    if (!this.#isRung && !signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    }
    this.#isRung = false;
  }
}

/** Keeps no process alive, and returns early when `signal` says so. */
async function sleep(seconds: number, signal: AbortSignal): Promise<void> {
  await pause(seconds * 1000, undefined, { ref: false, signal }).catch(() => undefined);
}

/** Runs `main` to its end, and the others meanwhile. */
async function beside(signal: AbortSignal, main: Task, ...others: Task[]): Promise<void> {
  const ended = new AbortController();
  const until = AbortSignal.any([signal, ended.signal]);
  const running = others.map((other) => other(until));
  try {
    await main(until);
  } finally {
    ended.abort();
    await Promise.all(running);
  }
}
