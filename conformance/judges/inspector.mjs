// The MCP inspector in a real browser: somebody looks at a protected server, and signs in for it.

import { spawn } from 'node:child_process';
import { openSync, readFileSync, mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { Judge, scene, withServer } from './judging.mjs';
import { launch, Person } from './people/browser.mjs';

const judge = new Judge('inspector');
const stage = scene();
const notes = stage.resources.notes;
const here = (file) => fileURLToPath(new URL(file, import.meta.url));
const launcher = here('node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js');

/** Runs `work` with the inspector's URL; what it keeps goes with the scene. */
async function withInspector(work) {
  const home = `${stage.directory}/inspector`;
  mkdirSync(home);
  const log = `${home}/log`;
  const output = openSync(log, 'w');
  const settings = {
    HOME: home, MCP_STORAGE_DIR: home, MCP_AUTO_OPEN_ENABLED: 'false', MCP_INSPECTOR_SECRET_STORE: 'memory',
    CLIENT_PORT: `${stage.parties['web-app'].port}`, MCP_SANDBOX_PORT: '0', MCP_APP_ORIGIN_PORT: '0',
  };
  const args = [launcher, '--web', '--transport', 'http', '--server-url', notes.resource];
  const inspector = spawn(process.env.NODE22, args, { stdio: ['ignore', output, output], env: { ...process.env, ...settings } });
  const ended = new Promise((resolve) => inspector.once('exit', resolve));
  try {
    for (let tries = 0; tries < 300; tries++) {
      const url = /http:\/\/\S+MCP_INSPECTOR_API_TOKEN=\w+/.exec(readFileSync(log, 'utf8'))?.[0];
      if (url && await fetch(url).then(() => true, () => false)) return await work(url);
      await sleep(100);
    }
    throw new Error(`the inspector did not start:\n${readFileSync(log, 'utf8').slice(-2000)}`);
  } finally {
    inspector.kill();
    await Promise.race([ended, sleep(5000)]);
    inspector.kill('SIGKILL');
  }
}

/** What somebody does in the inspector. */
async function inspects(alice, url) {
  const { page } = alice;
  /** Signs in and consents at Writ; the browser comes back to the inspector by itself. */
  const authorizes = async (...scopes) => {
    await page.waitForURL((at) => at.origin === stage.issuer);
    if (await page.locator('#login-submit').isVisible()) await alice.signIn();
    await page.waitForSelector('#consent-allow');
    const asked = await page.locator('[name=scope]').evaluateAll((boxes) => boxes.map((box) => box.value).sort());
    judge.equal(`it asks for ${scopes.join(' and ')}`, asked.filter((scope) => scope.startsWith('tool:')), scopes);
    await alice.look(`consent to ${scopes.join(' and ')}`);
    await alice.allow();
    await page.waitForURL((at) => at.origin === new URL(url).origin);
  };
  const calls = async (tool, parameters) => {
    await page.getByRole('button', { name: tool, exact: true }).click();
    for (const [name, value] of Object.entries(parameters)) await page.getByRole('textbox', { name, exact: true }).fill(value);
    await page.getByRole('button', { name: 'Execute Tool' }).click();
  };
  // Once it shows the tools, their heading is called the same.
  const toTools = () => page.getByText('Tools', { exact: true }).first().click();
  const answer = () => page.getByRole('heading', { name: 'Results' }).waitFor();

  await page.goto(url);
  await page.getByRole('switch', { name: /^Connect/ }).click({ force: true });
  await authorizes('tool:read_note');
  await page.getByText('Authentication succeeded').waitFor();
  judge.check('it is connected after signing in', true);
  await toTools();
  judge.check('it lists the tools', await page.getByText('Tools (2)').isVisible());
  await calls('read_note', { name: 'plan' });
  await answer();
  judge.check('it calls one', (await page.textContent('main')).includes('asked_by'));
  await alice.picture('a tool was called');

  await calls('write_note', { name: 'plan', text: 'walk' });
  await page.getByText('Additional permissions required').waitFor();
  await alice.picture('step-up');
  await page.getByRole('button', { name: 'Authorize' }).click();
  await authorizes('tool:read_note', 'tool:write_note');
  await toTools();
  await calls('write_note', { name: 'plan', text: 'walk' });
  await answer();
  judge.check('it calls the one that needed more', (await page.textContent('main')).includes('wrote plan'));
  await alice.picture('after step-up');
}

async function inTheBrowser(url) {
  const browser = await launch(stage);
  const alice = await Person.open(browser, judge, stage, 'alice');
  try {
    await inspects(alice, url);
  } catch (error) {
    await alice.picture('where it ended').catch(() => undefined);
    judge.check('the inspector came to its end', false, `${error.message} at ${alice.page.url()}`.slice(0, 500));
  }
  await browser.close();
}

await withServer(process.execPath, [here('mcp_typescript/server.mjs'), stage.issuer, notes.resource, notes.port], notes.resource,
  `${stage.directory}/notes.log`, () => withInspector(inTheBrowser));
judge.finish();
