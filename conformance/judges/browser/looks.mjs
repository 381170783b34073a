// The same pages on other screens, without scripts, and in somebody else's frame.

import { createServer } from 'node:http';
import { Person } from '../people/browser.mjs';
import { redeem, request } from '../people/flow.mjs';

async function signInAndConsent(setting, name, options) {
  const { judge, stage, browser, callback } = setting;
  const alice = await Person.open(browser, judge, stage, 'alice', options);
  const resource = stage.resources.files.resource;
  const scope = 'openid email profile tool:list_files tool:read_file tool:delete_file';
  const asked = request(stage, 'web-app', callback.url, { resource, scope, prompt: 'consent' });
  await alice.page.goto(asked.url);
  await alice.look(`${name} sign in`);
  await alice.signIn();
  await alice.page.waitForSelector('#consent-allow');
  await alice.look(`${name} consent`);
  await alice.page.goto(`${stage.issuer}/authorize?client_id=nobody`);
  await alice.look(`${name} error`);
  return alice;
}

export async function smallScreen(setting) {
  const alice = await signInAndConsent(setting, 'small screen', { viewport: { width: 320, height: 640 }, isMobile: true, hasTouch: true });
  await alice.page.goto(`${setting.stage.issuer}/account`);
  const small = await alice.page.evaluate(() =>
    [...document.querySelectorAll('button')].filter((b) => b.getBoundingClientRect().height < 24).map((b) => b.outerHTML));
  setting.judge.equal('every button is large enough for a finger', small, []);
  await alice.look('small screen account');
}

export async function dark(setting) {
  const alice = await signInAndConsent(setting, 'dark', { colorScheme: 'dark' });
  const light = await alice.page.evaluate(() => {
    const [r, g, b] = getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number);
    return (r + g + b) / 3;
  });
  setting.judge.check('what is dark is dark', light < 80, light);
  await alice.page.goto(`${setting.stage.issuer}/account`);
  await alice.look('dark account');
}

export async function withoutScripts({ judge, stage, browser, callback }) {
  const { username, password } = stage.people.bob;
  for (const mode of ['query', 'form_post']) {
    const context = await browser.newContext({ javaScriptEnabled: false });
    context.setDefaultTimeout(10_000);
    const page = await context.newPage();
    const asked = request(stage, 'public-app', callback.url, { scope: 'openid email', response_mode: mode, prompt: 'consent' });
    await page.goto(asked.url);
    await page.fill('#login-username', username);
    await page.fill('#login-password', password);
    await page.click('#login-submit');
    await page.click('#consent-allow');
    if (mode === 'form_post') await page.click('#continue');
    const answer = await callback.next();
    judge.equal(`${mode}: signed in, consented, answered`, [answer.state, answer.iss], [asked.state, stage.issuer]);
    judge.equal(`${mode}: with a good code`, (await redeem(stage, asked, answer.code)).status, 200);
    await context.close();
  }
}

export async function framed({ judge, stage, browser, callback }) {
  const target = request(stage, 'public-app', callback.url, { scope: 'openid' }).url;
  const server = createServer((_, response) => {
    response.setHeader('content-type', 'text/html');
    response.end(`<!doctype html><iframe src="${target.replaceAll('&', '&amp;')}"></iframe>`);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const page = await (await browser.newContext()).newPage();
  const refusals = [];
  page.on('console', (line) => refusals.push(line.text()));
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await page.waitForLoadState('networkidle');
  const inside = page.frames()[1];
  const shown = await inside.locator('#login-submit').count().catch(() => 0);
  judge.equal('no page of ours is shown in a frame', shown, 0);
  judge.check('the browser says why', refusals.some((text) => /frame/i.test(text)), refusals.join(' ').slice(0, 200));
  server.close();
}
