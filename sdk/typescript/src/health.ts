/** Whether the events still arrive: asked by verification (SSF 1.0), known by its echo. */

import type { Clock } from './web.js';

/** Seconds within which a verification has to be echoed. */
export const ECHO_LIMIT = 10;

/** Verification states that are still recognised, however late they are echoed. */
const REMEMBERED = 256;

/** Live from the echo of a verification on, until something goes wrong or too much time passes. */
export class Health {
  readonly #states = new Map<string, { number: number; at: number }>();
  #asked = 0;
  #heard = 0;
  #heardAt: number | undefined;
  #failure: string | undefined = 'the stream of events has not begun';
  #failedAfter = 0;
  /** Seconds between the last verification and its echo. */
  lag: number | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly maxAge: number,
  ) {}

  /** Seconds since the moment up to which everything is known to have arrived. */
  get age(): number | undefined {
    return this.#heardAt === undefined ? undefined : Math.max(this.clock() - this.#heardAt, 0);
  }

  /** A verification with this state is about to be requested. */
  asked(state: string): void {
    this.#states.set(state, { number: ++this.#asked, at: this.clock() });
    for (const oldest of this.#states.keys()) {
      if (this.#states.size <= REMEMBERED) break;
      this.#states.delete(oldest);
    }
  }

  /** Whether neither the verification with this state nor a later one has arrived. */
  awaits(state: string): boolean {
    return (this.#states.get(state)?.number ?? 0) > this.#heard;
  }

  /** The request was refused: there will be no echo. */
  withdraw(state: string): void {
    this.#states.delete(state);
  }

  /** A verification has arrived; false when nobody here asked for it. */
  echo(state: string): boolean {
    const asked = this.#states.get(state);
    if (asked === undefined) return false;
    if (asked.number > this.#heard) {
      [this.#heard, this.#heardAt] = [asked.number, asked.at];
      this.lag = Math.max(this.clock() - asked.at, 0);
    }
    if (asked.number > this.#failedAfter) this.#failure = undefined;
    return true;
  }

  /** Doubt, until a verification that is asked for from now on has been echoed. */
  fail(reason: string): void {
    [this.#failure, this.#failedAfter] = [reason, this.#asked];
  }

  /** Why events may be missing; undefined when all is well. */
  doubt(): string | undefined {
    if (this.#failure !== undefined) return this.#failure;
    const now = this.clock();
    for (const { number, at } of this.#states.values()) {
      if (number > this.#heard && now - at > ECHO_LIMIT) return 'a verification was not echoed';
    }
    if (this.#heardAt === undefined || now - this.#heardAt > this.maxAge) return 'nothing was heard for too long';
    return undefined;
  }
}
