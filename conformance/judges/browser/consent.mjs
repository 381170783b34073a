// Signing in by password and deciding about a client.

import { readFileSync } from 'node:fs';
import { createServer as createPlainServer } from 'node:http';
import { createServer } from 'node:https';
import { claims } from '../judging.mjs';
import { Person } from '../people/browser.mjs';
import { redeem, request } from '../people/flow.mjs';

const BOTH = 'openid tool:list_files tool:delete_file';

export async function passwordAndConsent({ judge, stage, browser, callback }) {
  const alice = await Person.open(browser, judge, stage, 'alice');
  const { page } = alice;
  const resource = stage.resources.files.resource;
  const ask = (scope, more) => request(stage, 'public-app', callback.url, { resource, scope, ...more });

  const asked = ask(BOTH);
  await page.goto(asked.url);
  judge.equal('whoever is not signed in is asked to', new URL(page.url()).pathname, '/login');
  await alice.look('sign in');
  await alice.signIn('not her password');
  judge.check('a wrong password is refused, in words', (await page.textContent('#login-problem')).length > 20);
  await alice.look('sign in with a wrong password');
  await alice.signIn();
  await page.waitForSelector('#consent-allow');
  judge.equal('who asks is named', await page.textContent('#consent-client'), 'Desk calendar');
  judge.equal('and who is asked', await page.textContent('#consent-user'), 'alice');
  judge.equal('and where the answer goes', await page.textContent('#consent-redirect-host'), '127.0.0.1');
  const words = await page.textContent('main');
  judge.check('each tool is there in words', words.includes('list_files of Files') && words.includes('delete_file of Files'));
  judge.check('what is sensitive is marked', (await page.locator('.sensitive').count()) === 1);
  await alice.look('consent');

  await page.locator('[name=scope][value="tool:delete_file"]').uncheck();
  await alice.allow();
  const answer = await callback.next();
  judge.equal('the answer is for this request, by this issuer', [answer.state, answer.iss], [asked.state, stage.issuer]);
  const tokens = await redeem(stage, asked, answer.code);
  judge.equal('only what was chosen is granted', tokens.scope?.split(' ').sort(), ['openid', 'tool:list_files']);
  const { aud, scope } = claims(tokens.access_token);
  judge.equal('and it is in the token for that resource', [aud, scope], [resource, tokens.scope]);

  const web = (wanted) => request(stage, 'web-app', callback.url, { resource, scope: wanted });
  await page.goto(web('openid tool:list_files').url);
  await alice.allow();
  await callback.next();
  const again = web('openid tool:list_files');
  await page.goto(again.url);
  judge.equal('what was allowed is not asked again', (await callback.next()).state, again.state);
  await page.goto(web(BOTH).url);
  await page.waitForSelector('#consent-allow');
  judge.equal('more is, and what was allowed before is marked', await page.getByText('allowed before').count() > 0, true);
  await alice.look('consent to more');
  await page.goto(ask('openid tool:list_files').url);
  judge.check('a program that any other on the device could pose as is asked for each time (RFC 8252 §8.6)',
    await page.locator('#consent-allow').isVisible());
  await page.goto(ask('openid tool:list_files', { prompt: 'consent' }).url);
  judge.check('prompt=consent asks again', await page.locator('#consent-allow').isVisible());
  await page.goto(ask('openid tool:list_files', { prompt: 'login' }).url);
  judge.check('prompt=login has them sign in again', await page.locator('#login-submit').isVisible());
  await alice.look('sign in again');
  const quiet = ask(BOTH, { prompt: 'none' });
  await page.goto(quiet.url);
  judge.equal('prompt=none never asks', (await callback.next()).error, 'consent_required');
}

export async function denial({ judge, stage, browser, callback }) {
  const bob = await Person.open(browser, judge, stage, 'bob');
  const asked = request(stage, 'web-app', callback.url, { resource: stage.resources.files.resource, scope: BOTH });
  await bob.page.goto(asked.url);
  await bob.signIn();
  await bob.page.click('#consent-deny');
  const answer = await callback.next();
  judge.equal('who denies has denied', [answer.error, answer.state, answer.iss], ['access_denied', asked.state, stage.issuer]);
  judge.equal('and no code is given', answer.code, undefined);
  await bob.page.goto(asked.url);
  await bob.page.waitForSelector('#consent-allow');
  for (const box of await bob.page.locator('[name=scope]:not([disabled])').all()) await box.uncheck();
  await bob.allow();
  judge.check('allowing nothing at all is no error', ['access_denied', undefined].includes((await callback.next()).error));
  const nobody = request(stage, 'web-app', callback.url, { prompt: 'none', scope: 'openid profile email' });
  await bob.page.context().clearCookies();
  await bob.page.goto(nobody.url);
  judge.equal('prompt=none for nobody is login_required', (await callback.next()).error, 'login_required');
}

/** A client whose answer is not the end of the way: browsers follow, and the page with the form lets them. */
export async function onward({ judge, stage, browser, callback }) {
  const bounce = createPlainServer((asked, response) => {
    const { search } = new URL(asked.url, 'http://127.0.0.1');
    response.writeHead(307, { location: callback.url.replace('127.0.0.1', 'localhost') + search }).end();
  });
  await new Promise((resolve) => bounce.listen(0, '127.0.0.1', resolve));
  try {
    const bob = await Person.open(browser, judge, stage, 'bob');
    const ask = () => request(stage, 'web-app', `http://127.0.0.1:${bounce.address().port}/callback`, { scope: 'openid phone' });
    const asked = ask();
    await bob.page.goto(asked.url);
    await bob.through((url) => url.hostname === 'localhost' && url.pathname === '/callback');
    judge.equal('a client may lead on to another origin', (await callback.next()).state, asked.state);
    bob.quiet('the page that led there');
    await bob.page.context().clearCookies();
    const again = ask();
    await bob.page.goto(again.url);
    await bob.signIn();
    judge.equal('also when signing in was all there was to do', (await callback.next()).state, again.state);
  } finally {
    bounce.close();
  }
}

export async function errors({ judge, stage, browser, callback }) {
  const alice = await Person.open(browser, judge, stage, 'alice');
  const good = request(stage, 'public-app', callback.url, { scope: 'openid' }).url;
  const spoilt = (name, value) => {
    const url = new URL(good);
    url.searchParams.set(name, value);
    return url.href;
  };
  const cases = {
    'an unknown client': [spoilt('client_id', 'nobody'), 'invalid_request'],
    'a redirect URI that is not registered': [spoilt('redirect_uri', 'https://evil.example/callback'), 'invalid_request'],
    'a redirect URI with another path': [spoilt('redirect_uri', `${callback.url}/more`), 'invalid_request'],
    'no client at all': [`${stage.issuer}/authorize`, 'invalid_request'],
  };
  for (const [what, [url, code]] of Object.entries(cases)) {
    const answer = await alice.page.goto(url);
    judge.equal(`${what}: a page, and no redirect`, [answer.status(), new URL(alice.page.url()).origin], [400, stage.issuer]);
    judge.equal(`${what}: the code of the error`, await alice.page.textContent('#error'), code);
    await alice.look(`error ${what}`);
  }
  const without = new URL(good);
  for (const name of ['code_challenge', 'code_challenge_method']) without.searchParams.delete(name);
  await alice.page.goto(without.href);
  judge.equal('without PKCE the client is told', (await callback.next()).error, 'invalid_request');
}

export async function formPost({ judge, stage, browser, callback }) {
  const alice = await Person.open(browser, judge, stage, 'alice');
  const asked = request(stage, 'web-app', callback.url, { scope: 'openid profile', response_mode: 'form_post' });
  await alice.page.goto(asked.url);
  await alice.signIn();
  await alice.allow();
  const answer = await callback.next();
  judge.equal('form_post posts by itself', [answer.state, answer.iss], [asked.state, stage.issuer]);
  const tokens = await redeem(stage, asked, answer.code);
  judge.equal('and the code is good', tokens.status, 200);
  const again = await redeem(stage, asked, answer.code);
  judge.equal('once', [again.status, again.error], [400, 'invalid_grant']);
  alice.quiet('form_post');
}

/** A client that nobody here knows, by the document that it publishes about itself. */
export async function clientOfADocument({ judge, stage, browser, callback }) {
  const { certificate, key } = stage.loopback;
  const server = createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, (_, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({
      client_id: id, client_name: 'Your bank, really', redirect_uris: ['http://127.0.0.1/callback'],
      grant_types: ['authorization_code'], response_types: ['code'], token_endpoint_auth_method: 'none',
    }));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const id = `https://localhost:${server.address().port}/client.json`;
  try {
    const alice = await Person.open(browser, judge, stage, 'alice');
    const place = { ...stage, clients: { [id]: {} } };
    const asked = request(place, id, callback.url, { resource: stage.resources.files.resource });
    await alice.page.goto(asked.url);
    await alice.signIn();
    await alice.page.waitForSelector('#consent-allow');
    judge.equal('its name is shown, and where it says that', [await alice.page.textContent('#consent-client'),
      await alice.page.textContent('#consent-document-host')], ['Your bank, really', 'localhost']);
    judge.equal('and where the answer goes', await alice.page.textContent('#consent-redirect-host'), '127.0.0.1');
    judge.check('with a warning, for that is the own device', await alice.page.locator('#consent-local').isVisible());
    judge.equal('without a scope it asks for the defaults',
      await alice.page.locator('[name=scope]').evaluateAll((boxes) => boxes.map((box) => box.value)), ['tool:list_files', 'tool:read_file']);
    await alice.look('consent to a client of a document');
    await alice.allow();
    const tokens = await redeem(place, asked, (await callback.next()).code);
    judge.equal('it gets a token in its name', [tokens.status, claims(tokens.access_token).client_id], [200, id]);
  } finally {
    server.close();
  }
}
