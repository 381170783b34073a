/** Real MCP servers of both versions of the SDK, called by the SDK's own client, until they are revoked. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { SECRET, serving, transmitting, type Transmitter } from './kit.js';

const example = (name: string) => fileURLToPath(new URL(`../../examples/${name}.mjs`, import.meta.url));

/** Runs an example while `work` runs; gives its URL once it answers. */
async function served(
  transmitter: Transmitter,
  name: string,
  delivery: string,
  work: (resource: string) => Promise<void>,
): Promise<void> {
  const origin = await serving(() => undefined, (free) => Promise.resolve(free));
  const resource = `${origin}/mcp`;
  transmitter.resource = resource;
  const server = spawn(process.execPath, [example(name), transmitter.issuer, resource, 'weather', delivery], {
    env: { ...process.env, WRIT_CLIENT_SECRET: SECRET },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const ended = new Promise((resolve) => server.once('exit', resolve));
  try {
    let answers = false;
    await transmitter.until(() => {
      void fetch(resource).then(() => (answers = true), () => undefined);
      return answers;
    });
    await work(resource);
  } finally {
    server.kill();
    await ended;
  }
}

for (const name of ['weather_sdk1', 'weather_sdk2']) {
  for (const delivery of ['feed', 'poll']) {
    describe(`${name}, ${delivery}`, () => {
      it('answers calls until the token is revoked', () =>
        transmitting(async (transmitter) => {
          transmitter.clock.now = Math.floor(Date.now() / 1000);
          await served(transmitter, name, delivery, async (resource) => {
            const token = await transmitter.token({ scope: 'tool:forecast tool:alert' });
            const answers: Response[] = [];
            const transport = new StreamableHTTPClientTransport(new URL(resource), {
              requestInit: { headers: { authorization: `Bearer ${token}` } },
              fetch: async (input, init) => {
                const answer = await fetch(input, init);
                answers.push(answer);
                return answer;
              },
            });
            const client = new Client({ name: 'test', version: '1.0.0' });
            await client.connect(transport);
            const { tools } = await client.listTools();
            assert.deepEqual(tools.map((tool) => tool.name).sort(), ['alert', 'forecast']);
            const call = async (tool: string) => {
              const { content } = await client.callTool({ name: tool, arguments: {} });
              return (content as { text: string }[])[0]?.text;
            };
            assert.equal(await call('forecast'), 'Sunny, agent.');
            assert.equal(await call('alert'), 'Everybody is warned, by agent.');
            await transmitter.revoke();
            await transmitter.until(() => transmitter.stream().queue.size === 0);
            await assert.rejects(call('forecast'));
            const last = answers.at(-1);
            assert.equal(last?.status, 401);
            assert.match(last.headers.get('www-authenticate') ?? '', /error_description="the token has been revoked"/);
            await client.close().catch(() => undefined);
          });
        }));
    });
  }
}
