/** Whether the events still arrive: asked by verification (SSF 1.0), known by its echo. */

import type { Clock } from './web.js';

/** Seconds within which a verification has to be echoed. */
export const ECHO_LIMIT = 10;

/** Verification states that are still recognised, however late they are echoed. */
const REMEMBERED = 256;

/**
 * Seconds that have passed, by whichever of two clocks says more: one may be set back, and the other stands still
 * while the machine sleeps.
 */
function elapsed(clock: Clock): () => number {
  const read = () => ({ wall: clock(), steady: performance.now() / 1000 });
  let last = read();
  let total = 0;
  return () => {
    const now = read();
    total += Math.max(now.wall - last.wall, now.steady - last.steady);
    last = now;
    return total;
  };
}

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

  readonly #elapsed: () => number;

  constructor(
    clock: Clock,
    private readonly maxAge: number,
  ) {
    this.#elapsed = elapsed(clock);
  }

  /** Seconds since the moment up to which everything is known to have arrived. */
  get age(): number | undefined {
    return this.#heardAt === undefined ? undefined : this.#elapsed() - this.#heardAt;
  }

  /** A verification with this state is about to be requested. */
  asked(state: string): void {
    this.#states.set(state, { number: ++this.#asked, at: this.#elapsed() });
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
      this.lag = this.#elapsed() - asked.at;
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
    const now = this.#elapsed();
    for (const { number, at } of this.#states.values()) {
      if (number > this.#heard && now - at > ECHO_LIMIT) return 'a verification was not echoed';
    }
    if (this.#heardAt === undefined || now - this.#heardAt > this.maxAge) return 'nothing was heard for too long';
    return undefined;
  }
}
