// The TypeScript SDK's own client signs a person in: registered, known by its document, with and without keys.
//
//     node typescript_client.mjs DOCUMENT_ORIGIN
//
// Each way: a tool, a tool that needs more, and the first one again when the token has run out.

import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { claims, Judge, scene } from '../judging.mjs';
import { refresh } from '../people/flow.mjs';
import { Host } from './host.mjs';

const judge = new Judge('typescript');
const stage = scene();
const [origin] = process.argv.slice(2);
const notes = stage.resources.notes.resource;
const sorted = (text) => text.split(' ').sort();

async function way(name, host, authenticates) {
  const read = (client) => client.callTool({ name: 'read_note', arguments: { name: 'plan' } });
  const write = (client) => client.callTool({ name: 'write_note', arguments: { name: 'plan', text: 'walk' } });
  const said = await host.does(read);
  judge.check(`${name}: a tool is called after signing in`, !said.isError, said.content[0].text.slice(0, 100));
  const first = claims(host.tokens().access_token);
  judge.equal(`${name}: as this client`, first.client_id, host.clientMetadataUrl ?? host.clientInformation().client_id);
  judge.equal(`${name}: with this scope`, sorted(first.scope).filter((scope) => scope.startsWith('tool:')), ['tool:read_note']);
  judge.equal(`${name}: the client authenticates as it said`,
    host.granted('authorization_code').map(({ body, status }) => [body.includes('client_assertion='), status]), [[authenticates, 200]]);
  judge.check(`${name}: a refresh token came with it`, host.tokens().refresh_token);

  const written = await host.does(write);
  judge.check(`${name}: a tool that needs more is refused first`, host.exchanges.some(({ status }) => status === 403));
  judge.equal(`${name}: then the person is asked again, and it is done`, [host.asked.length, written.content[0].text], [2, 'wrote plan']);
  const second = claims(host.tokens().access_token);
  judge.equal(`${name}: nothing that was granted is lost`,
    sorted(second.scope).filter((scope) => scope.startsWith('tool:')), ['tool:read_note', 'tool:write_note']);

  await sleep(Math.max(0, second.exp * 1000 - Date.now()) + 1000);
  const late = await host.does(write);
  judge.equal(`${name}: when the token has run out it is refreshed`,
    [late.content[0].text, host.granted('refresh_token').map(({ status }) => status)], ['wrote plan', [200]]);
  judge.equal(`${name}: without asking the person`, host.asked.length, 2);
  judge.equal(`${name}: with the same scopes`, sorted(claims(host.tokens().access_token).scope), sorted(second.scope));
}

const ways = {
  DCR: [new Host(notes), false],
  CIMD: [new Host(notes, { document: `${origin}/typescript.json` }), false],
  'CIMD with private_key_jwt': [new Host(notes, { document: `${origin}/keyed.json`, key: stage.keys.ES256 }), true],
  'declared, with private_key_jwt': [
    new Host(notes, { declared: { client_id: 'keyed-app', issuer: stage.issuer }, key: stage.keys.EdDSA }), true,
  ],
};
/** Three processes of one host, which share what it keeps: when the token has run out, all of them refresh it at once. */
async function race() {
  const store = `${stage.directory}/shared.json`;
  const host = new Host(notes, { store });
  await host.does((client) => client.callTool({ name: 'read_note', arguments: { name: 'plan' } }));
  const { client_id, exp } = claims(host.tokens().access_token);
  const when = Math.max(exp * 1000, Date.now()) + 8000; // they need some time to start
  const program = fileURLToPath(new URL('one_of_three.mjs', import.meta.url));
  const run = () => promisify(execFile)(process.execPath, [program, notes, store, `${when}`], { timeout: 120_000 });
  const three = (await Promise.all([run(), run(), run()])).map(({ stdout }) => JSON.parse(stdout));
  judge.equal('race: each of three processes goes on', three.map(({ said }) => said), Array(3).fill('plan'));
  judge.equal('race: each has refreshed', three.map(({ refreshed }) => refreshed), Array(3).fill([200]));
  judge.equal('race: nobody is asked to sign in', three.map(({ asked }) => asked), [0, 0, 0]);
  judge.equal('race: they began with one refresh token', new Set(three.map(({ before }) => before)).size, 1);
  const tokens = [...new Set(three.map(({ after }) => after))];
  const public_ = { ...stage, clients: { [client_id]: {} } };
  const later = await Promise.all(tokens.map((token) => refresh(public_, client_id, token)));
  judge.equal(`race: every refresh token they have now is good (${tokens.length})`, later.map(({ status }) => status), tokens.map(() => 200));
}

const guarded = async (name, work) => {
  try {
    await work();
  } catch (error) {
    judge.check(`${name} came to its end`, false, `${error.name} ${error.message} ${error.cause ?? ''}`.slice(0, 800));
  }
};
await Promise.all([
  ...Object.entries(ways).map(([name, [host, authenticates]]) => guarded(name, () => way(name, host, authenticates))),
  guarded('race', race),
]);
judge.finish();
