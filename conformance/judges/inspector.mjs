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

async function explore(url) {
  const browser = await launch();
  const ada = await Person.open(browser, judge, stage, 'ada');
  const { page } = ada;
  await page.goto(url);
  await page.getByRole('switch').click({force: true});
  for (let i = 0; i < 8; i++) { await sleep(2000); await page.screenshot({path: `/tmp/writ/judges/insp/x${i}.png`}); console.log(page.url().slice(0, 200)); console.log((await page.locator('body').ariaSnapshot()).slice(0, 3000));
    if (await page.locator('#login-submit').isVisible()) { await ada.signIn(); }
    else if (await page.locator('#consent-allow').isVisible()) { await ada.allow(); }
  }
  await browser.close();
}

await withServer(process.execPath, [here('mcp_typescript/server.mjs'), stage.issuer, notes.resource, notes.port], notes.resource,
  `${stage.directory}/notes.log`, () => withInspector(explore));
judge.finish();
