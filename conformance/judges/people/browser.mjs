// A person with a browser: Debian's Chromium, driven by Playwright, and what is looked at on every page they see.

import { readFileSync, mkdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const PATIENCE = 10_000; // milliseconds for one step

/** Chromium, without a window; it believes the certificate of the scene. */
export const launch = (stage) =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      `--ignore-certificate-errors-spki-list=${stage.loopback.pin}`,
      // Chromium's sandbox does not work for root.
      ...(process.getuid() === 0 ? ['--no-sandbox'] : []),
    ],
  });

/** One browser profile of one person, whose pages are looked at. */
export class Person {
  complaints = []; // what the browser itself found wrong with pages of ours since `quiet` was asked last

  constructor(judge, stage, name, page) {
    this.judge = judge;
    this.stage = stage;
    this.account = stage.people[name];
    this.page = page;
  }

  static async open(browser, judge, stage, name, options = {}) {
    const context = await browser.newContext(options);
    context.setDefaultTimeout(PATIENCE);
    const person = new Person(judge, stage, name, await context.newPage());
    await person.listen();
    return person;
  }

  async listen() {
    const { page } = this;
    const complain = (what) => {
      if (page.url().startsWith(this.stage.issuer)) this.complaints.push(what);
    };
    // A page that is an error is in the console as well: that is no complaint.
    page.on('console', (line) => {
      const expected = /the server responded with a status of 4\d\d/.test(line.text()) && line.location().url === page.url();
      if (line.type() === 'error' && !expected) complain(line.text());
    });
    page.on('pageerror', (error) => complain(`${error}`));
    await page.exposeFunction('__violated', (what) => complain(`CSP: ${what}`));
    await page.addInitScript(() => {
      addEventListener('securitypolicyviolation', (event) =>
        globalThis.__violated(`${event.violatedDirective} ${event.blockedURI}`));
    });
  }

  close() {
    return this.page.context().close();
  }

  /** Looks at the page: nothing that axe finds, nothing cut off, no complaint of the browser; a picture of it is kept. */
  async look(name) {
    const { page, judge } = this;
    const results = await page.evaluate(`${AXE}; axe.run(document, { resultTypes: ['violations'] })`);
    const found = results.violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ').slice(0, 160)}`);
    judge.equal(`${name}: axe finds nothing (${results.passes.length} rules hold)`, found, []);
    judge.check(`${name}: axe looked`, results.passes.length > 5, results.passes.length);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    judge.equal(`${name}: nothing to scroll to the side`, wide, 0);
    this.quiet(name);
    await this.picture(name);
  }

  quiet(name) {
    this.judge.equal(`${name}: the browser has nothing to complain about`, this.complaints, []);
    this.complaints = [];
  }

  async picture(name) {
    const directory = `${this.stage.directory}/screenshots`;
    mkdirSync(directory, { recursive: true });
    const file = `${String(++Person.pictures).padStart(2, '0')}-${name.replaceAll(/[^a-z0-9]+/gi, '-')}.png`;
    await this.page.screenshot({ path: `${directory}/${file}`, fullPage: true });
  }

  static pictures = 0;

  /** Signs in on the page that asks for it. */
  async signIn(password = this.account.password) {
    await this.page.fill('#login-username', this.account.username);
    await this.page.fill('#login-password', password);
    await this.page.click('#login-submit');
  }

  allow() {
    return this.page.click('#consent-allow');
  }

  /** Signs in and allows as far as that is asked for, until the browser is at a URL that `done` knows. */
  async through(done) {
    const { page } = this;
    for (let step = 0; step < 6; step++) {
      const arrived = page.waitForURL(done, { waitUntil: 'commit' }).then(() => 'done');
      const asked = page.locator('#login-submit, #consent-allow, #logout-confirm').first();
      const next = await Promise.any([arrived, asked.waitFor().then(() => asked.getAttribute('id'))]);
      if (next === 'done') return;
      const before = page.url();
      if (next === 'login-submit') await this.signIn();
      else await asked.click();
      await page.waitForURL((url) => url.href !== before, { waitUntil: 'commit' });
    }
    throw new Error(`never arrived; at ${page.url()}`);
  }
}

/** A program on the person's machine that waits for answers: its URL, and the parameters of each. It has a page to end at. */
export async function listener(port) {
  const answers = [];
  const waiting = [];
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, 'http://127.0.0.1');
    if (!['/callback', '/bye.html'].includes(url.pathname)) return response.writeHead(404).end();
    let body = '';
    for await (const part of request) body += part;
    const parameters = Object.fromEntries(request.method === 'POST' ? new URLSearchParams(body) : url.searchParams);
    response.writeHead(200, { 'content-type': 'text/html' });
    response.end('<!doctype html><html lang="en"><link rel="icon" href="data:,"><title>Done</title><p id="done">Done.');
    if (url.pathname === '/callback') (waiting.shift() ?? ((answer) => answers.push(answer)))(parameters);
  });
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/callback`,
    /** The next answer, if there is one in time. */
    next: () => {
      if (answers.length) return Promise.resolve(answers.shift());
      return new Promise((resolve, reject) => {
        waiting.push(resolve);
        setTimeout(() => reject(new Error('no answer came')), PATIENCE).unref();
      });
    },
    close: () => server.close(),
  };
}
