// The authorization code grant by hand: what a judge of pages asks for, so that no library stands between.

import { createHash, randomBytes } from 'node:crypto';

const random = () => randomBytes(32).toString('base64url');

/** An authorization request of a client: its URL, and what belongs to it. */
export function request(stage, client, redirectUri, more = {}) {
  const verifier = random();
  const state = random();
  const challenge = createHash('sha256').update(verifier).digest('base64url');
  const parameters = {
    response_type: 'code',
    client_id: client,
    redirect_uri: redirectUri,
    code_challenge: challenge,
    code_challenge_method: 'S256',
    state,
    ...more,
  };
  return { client, redirectUri, verifier, state, url: `${stage.issuer}/authorize?${new URLSearchParams(parameters)}` };
}

/** Redeems a code; the answer of the token endpoint with its status. */
export async function redeem(stage, asked, code) {
  const { client_secret } = stage.clients[asked.client];
  const answer = await fetch(`${stage.issuer}/token`, {
    method: 'POST',
    headers: client_secret ? { authorization: `Basic ${btoa(`${asked.client}:${client_secret}`)}` } : {},
    body: new URLSearchParams({
      grant_type: 'authorization_code',
      code,
      redirect_uri: asked.redirectUri,
      code_verifier: asked.verifier,
      ...(client_secret ? {} : { client_id: asked.client }),
    }),
  });
  return { status: answer.status, ...(await answer.json()) };
}

/** Uses a refresh token, in the same way. */
export async function refresh(stage, client, refreshToken, more = {}) {
  const { client_secret } = stage.clients[client];
  const answer = await fetch(`${stage.issuer}/token`, {
    method: 'POST',
    headers: client_secret ? { authorization: `Basic ${btoa(`${client}:${client_secret}`)}` } : {},
    body: new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: refreshToken,
      ...(client_secret ? {} : { client_id: client }),
      ...more,
    }),
  });
  return { status: answer.status, ...(await answer.json()) };
}
