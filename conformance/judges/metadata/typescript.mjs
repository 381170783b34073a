// The other half of the metadata judge: the strict schemas of the TypeScript SDK, and two general OAuth clients.

import { discoverAuthorizationServerMetadata } from '@modelcontextprotocol/client';
import {
  OAuthMetadataSchema,
  OAuthProtectedResourceMetadataSchema,
  OpenIdProviderDiscoveryMetadataSchema,
} from '@modelcontextprotocol/core';
import * as oauth from 'oauth4webapi';
import * as openid from 'openid-client';
import { Judge, scene } from '../judging.mjs';

const judge = new Judge('metadata, TypeScript');
const stage = scene();

for (const { issuer } of [stage, stage.tenants.acme]) {
  console.log(`-- ${issuer}`);
  const origin = new URL(issuer).origin;
  const path = issuer.slice(origin.length);
  for (const [name, schema] of [
    ['oauth-authorization-server', OAuthMetadataSchema],
    ['openid-configuration', OpenIdProviderDiscoveryMetadataSchema],
  ]) {
    const document = await (await fetch(`${origin}/.well-known/${name}${path}`)).json();
    const parsed = schema.safeParse(document);
    judge.check(`the TypeScript SDK's schema takes ${name}`, parsed.success, parsed.error?.message ?? '');
  }
  const found = await discoverAuthorizationServerMetadata(issuer);
  judge.equal('the TypeScript SDK discovers the issuer', found?.issuer, issuer);
  for (const algorithm of ['oauth2', 'oidc']) {
    const answer = await oauth.discoveryRequest(new URL(issuer), { algorithm, [oauth.allowInsecureRequests]: true });
    const server = await oauth.processDiscoveryResponse(new URL(issuer), answer);
    judge.equal(`oauth4webapi discovers it (${algorithm})`, server.token_endpoint, found.token_endpoint);
  }
  const configuration = await openid.discovery(new URL(issuer), 'anyone', undefined, openid.None(), {
    execute: [openid.allowInsecureRequests],
  });
  judge.equal('openid-client discovers it', configuration.serverMetadata().issuer, issuer);
}

for (const [place, id] of [[stage, 'weather'], [stage.tenants.acme, 'ledger']]) {
  const document = await (await fetch(`${place.issuer}/resources/${id}/oauth-protected-resource`)).json();
  const parsed = OAuthProtectedResourceMetadataSchema.safeParse(document);
  judge.check(`the TypeScript SDK's schema takes the metadata of ${id}`, parsed.success, parsed.error?.message ?? '');
}
judge.finish();
