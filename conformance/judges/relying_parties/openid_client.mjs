// A web application that signs people in with openid-client.
//
//     node openid_client.mjs ISSUER CLIENT_ID CLIENT_SECRET PORT
//
// `/` shows who is signed in, and signs in whoever is not; `/logout` signs out here and there.

import { createServer } from 'node:http';
import * as openid from 'openid-client';

const [issuer, client, secret, port] = process.argv.slice(2);
const origin = `http://127.0.0.1:${port}`;
const options = { execute: [openid.allowInsecureRequests] };
const configuration = await openid.discovery(new URL(issuer), client, undefined, openid.ClientSecretBasic(secret), options);
const sessions = new Map();

const routes = {
  '/': async (session) => {
    if (session.who) return session.who;
    session.checks = {
      pkceCodeVerifier: openid.randomPKCECodeVerifier(),
      expectedState: openid.randomState(),
      expectedNonce: openid.randomNonce(),
    };
    return openid.buildAuthorizationUrl(configuration, {
      redirect_uri: `${origin}/callback`,
      scope: 'openid profile email',
      code_challenge: await openid.calculatePKCECodeChallenge(session.checks.pkceCodeVerifier),
      code_challenge_method: 'S256',
      state: session.checks.expectedState,
      nonce: session.checks.expectedNonce,
      max_age: '3600',
    });
  },
  '/callback': async (session, url) => {
    const tokens = await openid.authorizationCodeGrant(configuration, url, { ...session.checks, maxAge: 3600 });
    const id_token = tokens.claims();
    const userinfo = await openid.fetchUserInfo(configuration, tokens.access_token, id_token.sub);
    session.hint = tokens.id_token;
    session.who = { id_token, userinfo };
    return new URL('/', origin);
  },
  '/logout': async (session) => {
    delete session.who;
    return openid.buildEndSessionUrl(configuration, {
      id_token_hint: session.hint,
      post_logout_redirect_uri: `${origin}/bye.html`,
      state: 'over',
    });
  },
  '/bye.html': async (_, url) => ({ bye: url.searchParams.get('state') }),
};

createServer(async (request, response) => {
  const url = new URL(request.url, origin);
  const route = routes[url.pathname];
  if (!route) return response.writeHead(404).end();
  const id = /session=([\w-]+)/.exec(request.headers.cookie ?? '')?.[1] ?? openid.randomState();
  if (!sessions.has(id)) sessions.set(id, {});
  response.setHeader('set-cookie', `session=${id}; HttpOnly; SameSite=Lax; Path=/`);
  try {
    const given = await route(sessions.get(id), url);
    if (given instanceof URL) return response.writeHead(303, { location: given.href }).end();
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(given));
  } catch (error) {
    response.writeHead(500, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ failed: `${error.name} ${error.code ?? ''} ${error.message} ${error.cause ?? ''} ${error.error_description ?? ''}` }));
  }
}).listen(Number(port), '127.0.0.1');
