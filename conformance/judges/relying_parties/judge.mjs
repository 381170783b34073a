// General OpenID Connect libraries and Apache's module sign people in through Chromium, check what they are told, and sign out.

import { fileURLToPath } from 'node:url';
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
  bye: '/bye',
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
    bye: '/bye.html',
  },
};

/** Both are signed in by one session at the issuer; who signs out of one has signed out of the issuer. */
async function judged(browser, name, party) {
  const { client_id, client_secret } = stage.clients[name];
  const { origin, port } = stage.parties[name];
  const [program, ...args] = [...party.command, stage.issuer, client_id, client_secret, `${port}`];
  await withServer(program, args, `${origin}${party.bye}`, `${stage.directory}/${name}.log`, async () => {
    const ada = await Person.open(browser, judge, stage, 'ada');
    const home = (url) => url.origin === origin && url.pathname === '/';
    await ada.page.goto(`${origin}/`);
    await ada.through(home);
    const { id_token, userinfo } = await party.who(ada, origin);
    judge.equal('it takes the ID token', [id_token?.iss, [id_token?.aud].flat()], [stage.issuer, [client_id]]);
    judge.equal('and the userinfo, which is about the same person', userinfo?.sub, id_token?.sub);
    judge.equal('and is told who that is', [userinfo?.preferred_username, userinfo?.email], ['ada', ada.account.email]);
    judge.check('it knows when and in which session', id_token?.auth_time > 0 && id_token?.sid?.length > 0,
      JSON.stringify(id_token));

    await ada.page.goto(party.logout(origin));
    await ada.through((url) => url.origin === origin && url.pathname === party.bye);
    judge.check('after signing out the browser is back', await party.over(ada));
    await ada.page.goto(`${origin}/`);
    await ada.page.waitForSelector('#login-submit');
    judge.equal('and the person is signed out at the issuer too', new URL(ada.page.url()).origin, stage.issuer);
    await ada.page.goto(`${origin}/`);
    await ada.through(home);
    judge.equal('they can sign in again', (await party.who(ada, origin)).userinfo?.preferred_username, 'ada');
    ada.quiet(name);
    await ada.close();
  });
}

const browser = await launch();
for (const [name, party] of Object.entries(parties)) {
  console.log(`-- ${name}`);
  try {
    await judged(browser, name, party);
  } catch (error) {
    const page = browser.contexts()[0]?.pages()[0];
    const words = await page?.textContent('body').catch(() => '');
    judge.check(`${name} came to its end`, false, `${error.message} at ${page?.url()}: ${words}`.slice(0, 800));
    for (const context of browser.contexts()) await context.close();
  }
}
await browser.close();
judge.finish();
