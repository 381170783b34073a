// Taking back what was allowed, and signing out.

import { Person } from '../people/browser.mjs';
import { redeem, refresh, request } from '../people/flow.mjs';

export async function connectedApps({ judge, stage, browser, callback }) {
  const bob = await Person.open(browser, judge, stage, 'bob');
  const { page } = bob;
  const resource = stage.resources.files.resource;
  const ask = () => request(stage, 'web-app', callback.url, { resource, scope: 'openid offline_access tool:list_files tool:delete_file' });
  const asked = ask();
  await page.goto(asked.url);
  await bob.signIn();
  await bob.allow();
  const tokens = await redeem(stage, asked, (await callback.next()).code);
  judge.equal('a client has a refresh token', [tokens.status, (await refresh(stage, 'web-app', tokens.refresh_token)).status], [200, 200]);

  await page.goto(`${stage.issuer}/account/apps`);
  const app = page.locator('[data-client="web-app"]');
  const words = await app.textContent();
  judge.check('it is among the connected apps, by its name', words.includes('Web shop'), words.replaceAll(/\s+/g, ' ').slice(0, 200));
  judge.check('with what it may do, in words', words.includes('list_files of Files') && words.includes('delete_file of Files'));
  judge.check('and when it was last used', words.includes('last used'));
  await bob.look('connected apps');
  await app.locator('button').click();
  await page.waitForSelector('[data-client="web-app"]', { state: 'detached' });
  judge.check('taken back, it is gone from the list', true);
  await bob.look('connected apps after revoking');
  const dead = await refresh(stage, 'web-app', tokens.refresh_token);
  judge.equal('its refresh token is worth nothing', [dead.status, dead.error], [400, 'invalid_grant']);
  const introspected = await fetch(`${stage.issuer}/introspect`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa(`web-app:${stage.clients['web-app'].client_secret}`)}` },
    body: new URLSearchParams({ token: tokens.access_token }),
  });
  judge.equal('nor its access token', (await introspected.json()).active, false);
  await page.goto(ask().url);
  await page.waitForSelector('#consent-allow');
  judge.equal('and it has to ask again', await page.getByText('allowed before').count(), 0);
}

export async function signOut({ judge, stage, browser }) {
  const alice = await Person.open(browser, judge, stage, 'alice');
  await alice.page.goto(`${stage.issuer}/account`);
  await alice.signIn();
  await alice.page.click('#account-signout');
  await alice.page.goto(`${stage.issuer}/account`);
  judge.check('who has signed out has to sign in', await alice.page.locator('#login-submit').isVisible());
}

/** RP-initiated logout: with a hint of one's own it needs no question, without one it asks. */
export async function logout({ judge, stage, browser, callback }) {
  const alice = await Person.open(browser, judge, stage, 'alice');
  const { page } = alice;
  const { end_session_endpoint: end } = await (await fetch(`${stage.issuer}/.well-known/openid-configuration`)).json();
  judge.check('there is an endpoint for it', end);
  const signedIn = async () => {
    const asked = request(stage, 'web-app', callback.url, { scope: 'openid' });
    await page.goto(asked.url);
    await alice.through((url) => url.href.startsWith(callback.url));
    return redeem(stage, asked, (await callback.next()).code);
  };
  const isIn = async () => {
    const quiet = request(stage, 'web-app', callback.url, { scope: 'openid', prompt: 'none' });
    await page.goto(quiet.url);
    return (await callback.next()).error === undefined;
  };

  await signedIn();
  await page.goto(end);
  await page.waitForSelector('#logout-confirm');
  await alice.look('logout');
  judge.check('asking is not signing out', await isIn());
  await page.goto(end);
  await page.click('#logout-confirm');
  await page.waitForURL((url) => url.href !== end, { waitUntil: 'commit' }).catch(() => undefined);
  await alice.look('after logout');
  judge.equal('confirmed, they are out', await isIn(), false);

  const { id_token } = await signedIn();
  const evil = new URLSearchParams({ id_token_hint: id_token, post_logout_redirect_uri: 'https://evil.example/' });
  await page.goto(`${end}?${evil}`);
  judge.equal('a place that is not registered is never gone to', new URL(page.url()).origin, stage.issuer);
  const { bye } = stage.parties['web-app'];
  const back = new URLSearchParams({ id_token_hint: id_token, post_logout_redirect_uri: bye, state: 'over' });
  await page.goto(`${end}?${back}`);
  await alice.through((url) => url.href.startsWith(bye));
  judge.equal('afterwards the browser is where the client wants it', page.url(), `${bye}?state=over`);
  judge.equal('and they are out', await isIn(), false);
}
