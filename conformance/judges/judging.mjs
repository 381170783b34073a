// What every judge written in JavaScript shares: a line for each check, a tally, an exit code.

import { spawn } from 'node:child_process';
import { openSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';

/** The running server this judge was started for; `scene.py` wrote it. */
export const scene = () => JSON.parse(readFileSync(process.env.SCENE, 'utf8'));

/** Counts checks and prints one line for each. */
export class Judge {
  passed = 0;
  failed = 0;

  constructor(name) {
    this.name = name;
  }

  note(text) {
    console.log(`      ${text}`);
  }

  check(what, held, detail = '') {
    held ? this.passed++ : this.failed++;
    console.log(`${held ? 'ok  ' : 'FAIL'}  ${what}${detail === '' ? '' : ` [${detail}]`}`);
    return held;
  }

  equal(what, got, wanted) {
    const same = isDeepStrictEqual(got, wanted);
    return this.check(what, same, same ? '' : `got ${JSON.stringify(got)}, wanted ${JSON.stringify(wanted)}`);
  }

  /** `attempt` has to succeed; answers what it gives, or undefined after a failed check. */
  async accepted(what, attempt) {
    try {
      const given = await attempt();
      this.check(what, true);
      return given;
    } catch (error) {
      const body = error.response?.bodyUsed === false ? await error.response.text() : error.error ?? '';
      this.check(what, false, `${error.name} ${error.message} ${body} ${error.error_description ?? ''}`.slice(0, 300));
    }
  }

  /** `attempt` has to throw, and `fits` (which may take its time) has to recognise what. */
  async refused(what, attempt, fits) {
    try {
      await attempt();
    } catch (error) {
      return this.check(what, await fits(error), `${error.name} ${error.code ?? ''} ${error.message}`.slice(0, 160));
    }
    return this.check(what, false, 'it was accepted');
  }

  finish() {
    if (this.passed + this.failed === 0) this.check('the judge checked something', false);
    console.log(`judge ${this.name}: ${this.passed} passed, ${this.failed} failed`);
    process.exit(this.failed ? 1 : 0);
  }
}

/** The claims (or, with part 0, the header) of a token, unverified, for looking at. */
export const claims = (token, part = 1) => JSON.parse(Buffer.from(token.split('.')[part], 'base64url'));

/** An access token by plain `fetch`; for judges of tokens, not of clients. */
export async function token(place, client, resource, scope) {
  const { client_id, client_secret } = place.clients[client];
  const answer = await fetch(`${place.issuer}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa(`${client_id}:${client_secret}`)}` },
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      resource: place.resources[resource].resource,
      scope,
    }),
  });
  if (!answer.ok) throw new Error(`token request answered ${answer.status}: ${await answer.text()}`);
  return (await answer.json()).access_token;
}

/** Run `work` while a server runs in the background and answers at `url`. */
export async function withServer(command, args, url, log, work) {
  const output = openSync(log, 'w');
  const server = spawn(command, args, { stdio: ['ignore', output, output] });
  const ended = new Promise((resolve) => server.once('exit', resolve));
  try {
    for (let tries = 0; ; tries++) {
      if (server.exitCode !== null || tries > 300) {
        throw new Error(`${args[0]} did not answer at ${url}:\n${readFileSync(log, 'utf8').slice(-2000)}`);
      }
      if (await fetch(url).then(() => true, () => false)) break;
      await sleep(100);
    }
    return await work();
  } finally {
    server.kill();
    await Promise.race([ended, sleep(10_000)]);
    server.kill('SIGKILL');
  }
}

/** Run `work` with the two servers of `writ demo`: an rmcp server behind Writ's own layer, and a Writ for it. */
export async function withDemo(stage, work) {
  const output = openSync(`${stage.directory}/demo.log`, 'w');
  const demo = spawn(stage.binary, ['demo', '--serve', '--json'], { stdio: ['ignore', 'pipe', output] });
  const ended = new Promise((resolve) => demo.once('exit', resolve));
  try {
    for await (const line of createInterface({ input: demo.stdout })) return await work(JSON.parse(line));
    throw new Error(`the demo said nothing:\n${readFileSync(`${stage.directory}/demo.log`, 'utf8').slice(-2000)}`);
  } finally {
    demo.kill();
    await Promise.race([ended, sleep(10_000)]);
    demo.kill('SIGKILL');
  }
}
