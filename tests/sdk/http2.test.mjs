// An upstream that speaks HTTP/2: clients notice nothing, and its one connection carries them all. SPEC section 2.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import OpenAI from 'openai';

import { Setup, collect, makeCertificate, missThenHit } from './refrain.mjs';

let folder, setup, client;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'refrain-http2-'));
  const { key, cert } = makeCertificate(folder);
  setup = await Setup.start({ ca_file: cert }, { key: readFileSync(key), cert: readFileSync(cert) });
  client = new OpenAI({ apiKey: 'sk-alice', baseURL: `${setup.url}/v1`, maxRetries: 0 });
});
after(async () => {
  await setup.stop();
  rmSync(folder, { recursive: true });
});

const ask = (text) => ({ model: 'gpt-4o-mini', messages: [{ role: 'user', content: text }] });

test('a whole answer over HTTP/2', async () => {
  await missThenHit(setup, () => client.chat.completions.create(ask('whole')).withResponse());
  assert.equal(setup.upstream.requests.at(-1).httpVersion, '2.0');
});

test('a stream over HTTP/2', async () => {
  await missThenHit(setup,
    () => client.chat.completions.create({ ...ask('stream'), stream: true }).withResponse(), collect);
});

test('a stream that HTTP/2 resets is cut for the client and not stored', async () => {
  setup.upstream.once((request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: {"id":"x","choices":[]}\n\n');
    setImmediate(() => response.stream.close(2)); // INTERNAL_ERROR
  });
  await assert.rejects(async () => {
    await collect(await client.chat.completions.create({ ...ask('reset'), stream: true }));
  });
  await missThenHit(setup,
    () => client.chat.completions.create({ ...ask('reset'), stream: true }).withResponse(), collect);
});

test('many at once are each answered, one after another reuse what is open', async () => {
  const at = (i) => client.chat.completions.create(ask(`number ${i}`));
  const answers = await Promise.all(Array.from({ length: 40 }, (_, i) => at(i)));
  assert.equal(new Set(answers.map((answer) => answer.id)).size, 40);
  const before = setup.upstream.connections;
  for (let i = 40; i < 50; i += 1) await at(i);
  const opened = setup.upstream.connections - before;
  assert.ok(opened <= 2, `expected open connections to be used, ${opened} more were opened`);
});

test('an upload over HTTP/2 passes byte for byte', async () => {
  const body = Buffer.alloc(3 << 20, 'refrain ');
  setup.upstream.once((request, response, got) => response.end(String(got.equals(body))));
  const response = await fetch(`${setup.url}/v1/uploads/x`, { method: 'PUT', body });
  assert.equal(await response.text(), 'true');
});
