// The unmodified Anthropic SDK: what a hit parses to is what the miss parsed to. SPEC sections 3 and 6.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import Anthropic from '@anthropic-ai/sdk';

import { Setup, collect, countingFetch, missThenHit } from './refrain.mjs';

let setup, client;

before(async () => {
  setup = await Setup.start();
  client = new Anthropic({ apiKey: 'sk-ant-alice', baseURL: setup.url, maxRetries: 0 });
});
after(() => setup.stop());

const ask = (text) => ({ model: 'claude-sonnet-4-5', max_tokens: 64, messages: [{ role: 'user', content: text }] });
const tools = [{ name: 'weather', input_schema: {
  type: 'object', properties: { city: { type: 'string' }, days: { type: 'number' } } } }];

test('messages', async () => {
  const answer = await missThenHit(setup, () => client.messages.create(ask('hello')).withResponse());
  assert.match(answer.content[0].text, /^answer \d+$/);
});

test('messages, streamed', async () => {
  const events = await missThenHit(setup,
    () => client.messages.create({ ...ask('hello'), stream: true }).withResponse(), collect);
  assert.equal(events.at(-1).type, 'message_stop');
});

test('messages by the stream helper', async () => {
  const finals = [];
  for (let i = 0; i < 2; i += 1) finals.push(await client.messages.stream(ask('helper')).finalMessage());
  assert.deepEqual(finals[1], finals[0]);
  assert.match(finals[0].content[0].text, /^answer \d+$/);
});

test('tool use', async () => {
  const answer = await missThenHit(setup, () => client.messages.create({ ...ask('tools'), tools }).withResponse());
  assert.match(answer.content[0].input.city, /^city \d+$/);
});

test('tool use, streamed in pieces', async () => {
  const before = setup.upstream.requests.length;
  const finals = [];
  for (let i = 0; i < 2; i += 1) finals.push(await client.messages.stream({ ...ask('pieces'), tools }).finalMessage());
  assert.deepEqual(finals[1], finals[0]);
  assert.match(finals[0].content[0].input.city, /^city \d+$/);
  assert.equal(setup.upstream.requests.length, before + 1);
});

test('a hit has a request id of its own in the SDK\'s place', async () => {
  const [miss, hit] = [await client.messages.create(ask('id')), await client.messages.create(ask('id'))];
  assert.match(miss._request_id, /^req_upstream_/);
  assert.ok(hit._request_id && hit._request_id !== miss._request_id, `expected an id of ours, got ${hit._request_id}`);
});

test('another key never hits', async () => {
  const other = new Anthropic({ apiKey: 'sk-ant-bob', baseURL: setup.url, maxRetries: 0 });
  const mine = await client.messages.create(ask('private'));
  const { data, response } = await other.messages.create(ask('private')).withResponse();
  assert.equal(response.headers.get('x-cache'), 'MISS');
  assert.notDeepEqual(data, mine);
});

test('an upstream error keeps its class, and is not cached', async () => {
  setup.upstream.once((request, response) => {
    response.writeHead(529, { 'content-type': 'application/json' });
    response.end('{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}');
  });
  await assert.rejects(client.messages.create(ask('busy')), (error) => {
    assert.ok(error instanceof Anthropic.APIError, `expected an APIError, got ${error}`);
    assert.deepEqual([error.status, error.error.error.type], [529, 'overloaded_error']);
    return true;
  });
  const { response } = await client.messages.create(ask('busy')).withResponse();
  assert.equal(response.headers.get('x-cache'), 'MISS');
});

test('an upstream that hangs up is a 502 in Anthropic\'s shape', async () => {
  setup.upstream.once((request) => request.socket.destroy());
  await assert.rejects(client.messages.create(ask('hung up')), (error) => {
    assert.ok(error instanceof Anthropic.InternalServerError, `expected InternalServerError, got ${error}`);
    assert.equal(error.status, 502);
    assert.equal(error.error.type, 'error');
    assert.ok(error.error.error.type && error.error.error.message, `expected Anthropic's shape: ${error.message}`);
    return true;
  });
});

test('a timeout upstream is a 504 in Anthropic\'s shape', async () => {
  const impatient = await Setup.start({ first_byte_timeout: '200ms' });
  try {
    impatient.upstream.once(() => {});
    const asking = new Anthropic({ apiKey: 'sk', baseURL: impatient.url, maxRetries: 0 });
    await assert.rejects(asking.messages.create(ask('late')), (error) => {
      assert.ok(error instanceof Anthropic.InternalServerError, `expected InternalServerError, got ${error}`);
      assert.equal(error.status, 504);
      assert.equal(error.error.type, 'error');
      return true;
    });
  } finally {
    await impatient.stop();
  }
});

test('a stream cut in the middle is an error in the SDK, not half an answer', async () => {
  setup.upstream.once((request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('event: ping\ndata: {"type":"ping"}\n\n', () => request.socket.destroy());
  });
  const stream = await client.messages.create({ ...ask('cut'), stream: true });
  await assert.rejects(collect(stream));
});

test('what retrying cannot mend is not retried', async () => {
  const fetching = countingFetch();
  const patient = new Anthropic({ apiKey: 'sk-ant-alice', baseURL: setup.url, maxRetries: 3, fetch: fetching });
  const headers = { 'Cache-Control': 'only-if-cached' };
  await assert.rejects(patient.messages.create(ask('never asked'), { headers }), { status: 504 });
  assert.equal(fetching.calls, 1, 'x-should-retry: false must be obeyed');
});
