// One of several processes of a host that share what it keeps.
//
//     node one_of_three.mjs RESOURCE STORE WHEN
//
// At WHEN (milliseconds) it calls a tool; what it did is printed as JSON.

import { setTimeout as sleep } from 'node:timers/promises';
import { Host } from './host.mjs';

const [resource, store, when] = process.argv.slice(2);
const host = new Host(resource, { store });
const before = host.tokens().refresh_token;
await sleep(Number(when) - Date.now());
const answer = await host.does((client) => client.callTool({ name: 'read_note', arguments: { name: 'plan' } }));
console.log(JSON.stringify({
  said: JSON.parse(answer.content[0].text).name,
  refreshed: host.granted('refresh_token').map(({ status }) => status),
  asked: host.asked.length,
  before,
  after: host.tokens().refresh_token,
}));
