// An ordinary MCP server in Node that accepts Writ's access tokens: the SDK, express, jose and nothing of ours.
//
//     node server.mjs ISSUER RESOURCE PORT
//
// It knows the issuer and its own URL. Everything else comes from the issuer's metadata and JWKS.

import {
  createMcpExpressApp,
  getOAuthProtectedResourceMetadataUrl,
  mcpAuthMetadataRouter,
  requireBearerAuth,
} from '@modelcontextprotocol/express';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { createMcpHandler, McpServer, OAuthError, OAuthErrorCode, requireScopes } from '@modelcontextprotocol/server';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import * as z from 'zod/v4';

const [issuer, resource, port] = process.argv.slice(2);
const oauthMetadata = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json();
const keys = createRemoteJWKSet(new URL(oauthMetadata.jwks_uri));

const verifier = {
  async verifyAccessToken(token) {
    const { payload } = await jwtVerify(token, keys, {
      issuer,
      audience: resource,
      typ: 'at+jwt',
      algorithms: ['RS256'],
      requiredClaims: ['sub', 'exp', 'iat', 'jti', 'client_id'],
    }).catch((refusal) => {
      console.log(`refused a token: ${refusal.message}`);
      throw new OAuthError(OAuthErrorCode.InvalidToken, 'The access token is not valid here');
    });
    return {
      token,
      clientId: payload.client_id,
      scopes: (payload.scope ?? '').split(' ').filter(Boolean),
      expiresAt: payload.exp,
      resource: new URL(payload.aud),
    };
  },
};

function notes() {
  const server = new McpServer({ name: 'notes', version: '1.0.0' });
  const say = (text) => ({ content: [{ type: 'text', text }] });
  server.registerTool(
    'read_note',
    {
      description: 'Read a note',
      inputSchema: z.object({ name: z.string() }),
      annotations: { readOnlyHint: true },
      scopeChallenge: requireScopes('tool:read_note'),
    },
    ({ name }, { http }) => say(JSON.stringify({ name, asked_by: http.authInfo.clientId, scopes: http.authInfo.scopes })),
  );
  server.registerTool(
    'write_note',
    {
      description: 'Write a note; needs a scope of its own',
      inputSchema: z.object({ name: z.string(), text: z.string() }),
      scopeChallenge: requireScopes('tool:write_note'),
    },
    ({ name }) => say(`wrote ${name}`),
  );
  return server;
}

const resourceServerUrl = new URL(resource);
const app = createMcpExpressApp();
app.use(mcpAuthMetadataRouter({ oauthMetadata, resourceServerUrl, scopesSupported: ['tool:read_note'] }));
const handler = toNodeHandler(createMcpHandler(notes));
app.all(
  '/mcp',
  requireBearerAuth({
    verifier,
    expectedResource: resourceServerUrl,
    resourceMetadataUrl: getOAuthProtectedResourceMetadataUrl(resourceServerUrl),
  }),
  (request, response) => handler(request, response, request.body),
);
app.listen(Number(port), '127.0.0.1');
