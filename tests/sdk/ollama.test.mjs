// The unmodified Ollama SDK: what a hit parses to is what the miss parsed to. SPEC sections 3 and 6.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Ollama } from 'ollama';

import { Setup, collect } from './refrain.mjs';

let setup, client, outcomes;

before(async () => {
  setup = await Setup.start();
  outcomes = [];
  const telling = async (...args) => { // the SDK keeps the head of an answer to itself
    const response = await fetch(...args);
    outcomes.push(response.headers.get('x-cache'));
    return response;
  };
  client = new Ollama({ host: setup.url, fetch: telling });
});
after(() => setup.stop());

async function twice(ask) {
  const asked = setup.upstream.requests.length;
  const missed = await ask();
  assert.deepEqual(await ask(), missed);
  assert.equal(setup.upstream.requests.length, asked + 1, 'upstream must be asked once');
  assert.equal(outcomes.at(-2), 'MISS');
  assert.ok(['HIT', 'COALESCED'].includes(outcomes.at(-1)), outcomes.at(-1));
  return missed;
}

const model = 'llama3.2';
const messages = [{ role: 'user', content: 'hello' }];

test('chat', async () => {
  const answer = await twice(() => client.chat({ model, messages }));
  assert.match(answer.message.content, /^answer \d+, naïve 😀$/);
  assert.equal(answer.done_reason, 'stop');
});

test('chat, streamed', async () => {
  const parts = await twice(async () => collect(await client.chat({ model, messages, stream: true })));
  assert.match(parts.map((part) => part.message.content).join(''), /in pieces$/);
});

test('generate', async () => {
  const answer = await twice(() => client.generate({ model, prompt: 'hello' }));
  assert.match(answer.response, /^answer \d+, naïve 😀$/);
});

test('generate, streamed', async () => {
  const parts = await twice(async () => collect(await client.generate({ model, prompt: 'hello', stream: true })));
  assert.match(parts.map((part) => part.response).join(''), /in pieces$/);
});

test('embeddings', async () => {
  const answer = await twice(() => client.embed({ model: 'all-minilm', input: ['one', 'two'] }));
  assert.equal(answer.embeddings.length, 2);
});

test('an error on the way is the SDK\'s error, and is not stored', async () => {
  const broken = (request, response) => {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    response.end('{"model":"m","message":{"role":"assistant","content":"a"},"done":false}\n{"error":"runner stopped"}\n');
  };
  const ask = { model, messages: [{ role: 'user', content: 'break' }], stream: true };
  setup.upstream.once(broken);
  await assert.rejects(async () => collect(await client.chat(ask)), /runner stopped/);
  const parts = await collect(await client.chat(ask));
  assert.match(parts.map((part) => part.message.content).join(''), /in pieces$/);
  assert.equal(outcomes.at(-1), 'MISS');
});
