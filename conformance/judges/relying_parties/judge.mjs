// General OpenID Connect libraries and Apache's module sign people in through Chromium, check what they are told, and sign out.

import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { Judge, scene, withServer } from '../judging.mjs';
import { launch, Person } from '../people/browser.mjs';

const judge = new Judge('relying-parties');
const stage = scene();
const python = process.env.PYTHON ?? 'python3';
const here = (file) => fileURLToPath(new URL(file, import.meta.url));

/** What `/` of a library's application shows. */
const shown = async ({ page }) => JSON.parse(await page.textContent('body'));

const library = {
  who: shown,
  logout: (origin) => `${origin}/logout`,
  /** Whether it shows that the answer to its logout has come. */
  over: async (person) => (await shown(person)).bye === 'over',
};
const parties = {
  'openid-client': { ...library, command: [process.execPath, here('openid_client.mjs')] },
  authlib: { ...library, command: [python, here('authlib_flask.py')] },
  apache: {
    command: [python, here('apache.py')],
    async who(person, origin) {
      judge.equal('the page behind it is shown', await person.page.textContent('#inside'), 'inside');
      const info = await person.page.context().request.get(`${origin}/callback?info=json`);
      return info.json();
    },
    logout: (origin) => `${origin}/callback?logout=${encodeURIComponent(`${origin}/bye.html`)}`,
    over: async ({ page }) => (await page.textContent('#bye')) === 'bye',
  },
};

/** Runs `work` while the application of a party is there. */
function withParty(name, work) {
  const { client_id, client_secret } = stage.clients[name];
  const { port, bye } = stage.parties[name];
  const [program, ...args] = [...parties[name].command, stage.issuer, client_id, client_secret, `${port}`];
  return withServer(program, args, bye, `${stage.directory}/${name}.log`, work);
}

/** Signs in at a party, by the session at the issuer if there is one. */
async function signIn(person, name) {
  const { origin } = stage.parties[name];
  await person.page.goto(`${origin}/`);
  await person.through((url) => url.origin === origin && url.pathname === '/');
  return parties[name].who(person, origin);
}

/** One party: what it is told, and that signing out of it is signing out of the issuer. */
const alone = (name) => withParty(name, async () => {
  const { origin, bye } = stage.parties[name];
  const alice = await Person.open(browser, judge, stage, 'alice');
  const { id_token, userinfo } = await signIn(alice, name);
  judge.equal('it takes the ID token', [id_token?.iss, [id_token?.aud].flat()], [stage.issuer, [stage.clients[name].client_id]]);
  judge.equal('and the userinfo, which is about the same person', userinfo?.sub, id_token?.sub);
  judge.equal('and is told who that is', [userinfo?.preferred_username, userinfo?.email], ['alice', alice.account.email]);
  judge.check('it knows when and in which session', id_token?.auth_time > 0 && id_token?.sid?.length > 0, JSON.stringify(id_token));

  await alice.page.goto(parties[name].logout(origin));
  await alice.through((url) => url.href.startsWith(bye));
  judge.check('after signing out the browser is back', await parties[name].over(alice));
  await alice.page.goto(`${origin}/`);
  await alice.page.waitForSelector('#login-submit');
  judge.equal('and the person is signed out at the issuer too', new URL(alice.page.url()).origin, stage.issuer);
  judge.equal('they can sign in again', (await signIn(alice, name)).userinfo?.preferred_username, 'alice');
  alice.quiet(name);
});

/** Two parties in one session: who signs out of one is signed out of the other, which is told behind the browser's back. */
const together = () => withParty('apache', () => withParty('openid-client', async () => {
  const bob = await Person.open(browser, judge, stage, 'bob');
  await signIn(bob, 'apache');
  await bob.page.goto(`${stage.parties['openid-client'].origin}/`);
  const asked = bob.page.waitForSelector('#login-submit', { timeout: 1000 }).then(() => true, () => false);
  await signIn(bob, 'openid-client');
  judge.equal('one session does for both', await asked, false);
  const info = () => bob.page.context().request.get(`${stage.parties.apache.origin}/callback?info=json`);
  judge.equal('Apache has a session', (await info()).status(), 200);
  await bob.page.goto(parties['openid-client'].logout(stage.parties['openid-client'].origin));
  await bob.through((url) => url.href.startsWith(stage.parties['openid-client'].bye));
  let status;
  for (let tries = 0; tries < 50 && status !== 401; tries++) {
    status = (await info()).status();
    await sleep(100);
  }
  judge.equal('and none any more after signing out elsewhere', status, 401);
}));

const browser = await launch(stage);
const plays = { ...Object.fromEntries(Object.keys(parties).map((name) => [name, () => alone(name)])), 'back-channel logout': together };
for (const [name, play] of Object.entries(plays)) {
  console.log(`-- ${name}`);
  try {
    await play();
  } catch (error) {
    const page = browser.contexts()[0]?.pages()[0];
    const words = await page?.textContent('body').catch(() => '');
    judge.check(`${name} came to its end`, false, `${error.message} at ${page?.url()}: ${words}`.slice(0, 800));
  }
  for (const context of browser.contexts()) await context.close();
}
await browser.close();
judge.finish();
