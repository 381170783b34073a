// Accounts: made, with passkeys, with a second factor.

import { createHmac } from 'node:crypto';
import { Person } from '../people/browser.mjs';

/** A session is of this one origin, and out of reach for scripts and other sites. */
export async function cookies({ judge, stage, browser }) {
  const alice = await Person.open(browser, judge, stage, 'alice');
  await alice.page.goto(`${stage.issuer}/account`);
  await alice.signIn();
  await alice.page.waitForSelector('#account-username');
  const all = await alice.page.context().cookies();
  judge.check('there is a session', all.some(({ name }) => name === '__Host-writ-session'), all.map(({ name }) => name));
  judge.equal('every cookie is guarded', all.filter(({ name, secure, httpOnly, sameSite, path }) =>
    !(name.startsWith('__Host-') && secure && httpOnly && ['Lax', 'Strict'].includes(sameSite) && path === '/')), []);
  judge.equal('scripts see none', await alice.page.evaluate('document.cookie'), '');
}

export async function signUp({ judge, stage, browser }) {
  stage.people.carol = { username: 'carol', email: 'carol@people.example', password: 'correct horse staple' };
  const carol = await Person.open(browser, judge, stage, 'carol');
  const { page, account } = carol;
  await page.goto(`${stage.issuer}/account`);
  await page.click('#login-signup');
  await carol.look('sign up');
  await page.fill('#signup-username', account.username);
  await page.fill('#signup-email', account.email);
  await page.fill('#signup-password', account.password);
  await page.click('#signup-submit');
  judge.equal('who has made an account is signed in', await page.textContent('#account-username'), 'carol');
  await carol.look('account');
}

/** A browser with an authenticator in it that always agrees. */
async function withAuthenticator(person) {
  const devtools = await person.page.context().newCDPSession(person.page);
  await devtools.send('WebAuthn.enable');
  const { authenticatorId } = await devtools.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true,
      isUserVerified: true, automaticPresenceSimulation: true,
    },
  });
  return {
    credentials: async () => (await devtools.send('WebAuthn.getCredentials', { authenticatorId })).credentials,
    forget: () => devtools.send('WebAuthn.clearCredentials', { authenticatorId }),
  };
}

export async function passkey({ judge, stage, browser }) {
  const alice = await Person.open(browser, judge, stage, 'alice');
  const { page } = alice;
  const authenticator = await withAuthenticator(alice);
  await page.goto(`${stage.issuer}/account`);
  await alice.signIn();
  await page.click('#account-passkeys');
  await alice.look('add a passkey');
  await page.fill('#passkey-name', 'Laptop');
  await page.click('#passkey-submit');
  await page.waitForURL(`${stage.issuer}/account*`);
  judge.check('it is on the page of the account', await page.getByText('Laptop').first().isVisible());
  judge.equal('and in the authenticator', (await authenticator.credentials()).map(({ rpId, isResidentCredential }) => [rpId, isResidentCredential]),
    [['localhost', true]]);
  await alice.look('account with a passkey');

  await page.click('#account-signout');
  await page.goto(`${stage.issuer}/account`);
  await alice.look('sign in with a passkey');
  await page.click('#login-passkey');
  await page.waitForSelector('#account-username');
  judge.equal('with it one signs in, without a name or a password', await page.textContent('#account-username'), 'alice');
  judge.check('and it was used', (await authenticator.credentials())[0].signCount >= 1);

  await page.click('#account-signout');
  await authenticator.forget();
  await page.goto(`${stage.issuer}/account`);
  await page.click('#login-passkey');
  await page.locator('form[data-passkey] [data-problem]').waitFor();
  judge.check('a browser that has none says so', await page.locator('[data-problem]').isVisible());
  await alice.look('no passkey here');
  await alice.signIn();
  await page.getByRole('button', { name: 'Remove Laptop' }).click();
  judge.equal('it can be removed', await page.getByText('Laptop').count(), 0);
}

/** What an authenticator app shows (RFC 6238). */
function totp(secret, at = Date.now()) {
  const bits = [...secret.replaceAll(/[\s=]/g, '').toUpperCase()]
    .map((letter) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0')).join('');
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(at / 30_000)));
  const digest = createHmac('sha1', key).update(counter).digest();
  const offset = digest.at(-1) & 15;
  return String((digest.readUInt32BE(offset) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

export async function secondFactor({ judge, stage, browser }) {
  const bob = await Person.open(browser, judge, stage, 'bob');
  const { page } = bob;
  const again = async () => {
    await page.click('#account-signout');
    await page.goto(`${stage.issuer}/account`);
    await bob.signIn();
    await page.waitForSelector('#login-code');
  };
  await page.goto(`${stage.issuer}/account`);
  await bob.signIn();
  await page.click('#account-authenticator');
  const secret = await page.textContent('#authenticator-secret');
  judge.check('the key is there for an app, and as a picture', (await page.locator('svg.qr').count()) === 1
    && (await page.getAttribute('#authenticator-uri', 'href')).startsWith('otpauth://totp/'));
  await bob.look('add an authenticator app');
  await page.fill('#authenticator-code', '000000');
  await page.click('#authenticator-submit');
  judge.check('a wrong code adds nothing', await page.locator('.problem').isVisible());
  await bob.look('add an authenticator app with a wrong code');
  const used = Date.now();
  await page.fill('#authenticator-code', totp(await page.textContent('#authenticator-secret')));
  await page.click('#authenticator-submit');
  const codes = await page.locator('#recovery-codes code').allTextContents();
  judge.check('recovery codes come with it', codes.length >= 8 && new Set(codes).size === codes.length, codes.length);
  await bob.look('recovery codes');
  await page.goto(`${stage.issuer}/account`);
  await bob.look('account with a second factor');

  await again();
  await bob.look('second step');
  await page.fill('#login-code', '000000');
  await page.click('#login-submit');
  judge.check('a wrong code is refused, in words', (await page.textContent('#login-problem')).length > 20);
  await page.fill('#login-code', codes[0]);
  await page.click('#login-submit');
  judge.equal('a recovery code will do', await page.textContent('#account-username'), 'bob');
  judge.equal('and is used up', Number(await page.textContent('#recovery-left')), codes.length - 1);
  await again();
  await page.fill('#login-code', codes[0]);
  await page.click('#login-submit');
  judge.check('it does not do twice', await page.locator('#login-problem').isVisible());
  // The code that enrolled it has been used: the next one is accepted a step ahead of its time.
  await page.fill('#login-code', totp(secret, Math.max(Date.now(), used + 30_000)));
  await page.click('#login-submit');
  judge.equal('the code of the app will', await page.textContent('#account-username'), 'bob');
  await page.click('#authenticator-remove');
  judge.check('it can be removed', await page.locator('#account-authenticator').isVisible());
}
