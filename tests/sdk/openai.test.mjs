// The unmodified OpenAI SDK: what a hit parses to is what the miss parsed to. SPEC sections 3 and 6.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import OpenAI from 'openai';

import { Setup, collect, countingFetch, missThenHit } from './refrain.mjs';

let setup, client;

before(async () => {
  setup = await Setup.start();
  client = new OpenAI({ apiKey: 'sk-alice', baseURL: `${setup.url}/v1`, maxRetries: 0 });
});
after(() => setup.stop());

const ask = (text) => ({ model: 'gpt-4o-mini', messages: [{ role: 'user', content: text }] });
const tools = [{ type: 'function', function: { name: 'weather', parameters: {
  type: 'object', properties: { city: { type: 'string' }, days: { type: 'number' } } } } }];

test('chat', async () => {
  const answer = await missThenHit(setup, () => client.chat.completions.create(ask('chat')).withResponse());
  assert.match(answer.choices[0].message.content, /^answer \d+, naïve 😀$/);
});

test('chat, streamed', async () => {
  const chunks = await missThenHit(setup,
    () => client.chat.completions.create({ ...ask('stream'), stream: true }).withResponse(), collect);
  assert.match(chunks.map((chunk) => chunk.choices[0].delta.content ?? '').join(''), /in pieces$/);
});

test('chat, streamed with usage', async () => {
  const chunks = await missThenHit(setup, () => client.chat.completions.create(
    { ...ask('usage'), stream: true, stream_options: { include_usage: true } }).withResponse(), collect);
  assert.equal(chunks.at(-1).usage.total_tokens, 12);
});

test('chat by the stream helper', async () => {
  const before = setup.upstream.requests.length;
  const final = () => client.chat.completions.stream(ask('helper')).finalChatCompletion();
  const [miss, hit] = [await final(), await final()];
  assert.deepEqual(hit, miss);
  assert.equal(setup.upstream.requests.length, before + 1);
});

test('tool calls', async () => {
  const answer = await missThenHit(setup,
    () => client.chat.completions.create({ ...ask('tools'), tools }).withResponse());
  assert.match(JSON.parse(answer.choices[0].message.tool_calls[0].function.arguments).city, /^city \d+$/);
});

test('tool calls, streamed in pieces', async () => {
  const chunks = await missThenHit(setup,
    () => client.chat.completions.create({ ...ask('tools'), tools, stream: true }).withResponse(), collect);
  const text = chunks.flatMap((chunk) => chunk.choices[0].delta.tool_calls ?? [])
    .map((call) => call.function.arguments).join('');
  assert.match(JSON.parse(text).city, /^city \d+$/);
});

test('embeddings, asked as base64 by default', async () => {
  const answer = await missThenHit(setup, () => client.embeddings.create(
    { model: 'text-embedding-3-small', input: ['one', 'two'] }).withResponse());
  assert.equal(answer.data.length, 2);
  assert.equal(answer.data[0].embedding.length, 16);
  assert.equal(typeof answer.data[0].embedding[0], 'number');
  assert.equal(JSON.parse(setup.upstream.requests.at(-1).body).encoding_format, 'base64');
});

test('embeddings as floats are another answer', async () => {
  const model = 'text-embedding-3-small';
  const answer = await missThenHit(setup,
    () => client.embeddings.create({ model, input: ['one', 'two'], encoding_format: 'float' }).withResponse());
  assert.equal(answer.data[0].embedding.length, 16);
});

test('moderations', async () => {
  const answer = await missThenHit(setup, () => client.moderations.create(
    { model: 'omni-moderation-latest', input: 'hello' }).withResponse());
  assert.equal(answer.results[0].flagged, false);
});

test('speech', async () => {
  const sound = await missThenHit(setup, async () => {
    const response = await client.audio.speech.create({ model: 'gpt-4o-mini-tts', voice: 'alloy', input: 'hello' });
    return { data: Buffer.from(await response.arrayBuffer()), response };
  });
  assert.equal(sound.length, 5 + 3 + 4096);
});

test('responses', async () => {
  const answer = await missThenHit(setup,
    () => client.responses.create({ model: 'gpt-4o-mini', input: 'hello' }).withResponse());
  assert.match(answer.output_text, /^answer \d+$/);
});

test('responses, streamed', async () => {
  const events = await missThenHit(setup,
    () => client.responses.create({ model: 'gpt-4o-mini', input: 'hello', stream: true }).withResponse(), collect);
  assert.equal(events.at(-1).type, 'response.completed');
});

test('a hit has a request id of its own in the SDK\'s place', async () => {
  const miss = await client.chat.completions.create(ask('id'));
  const hit = await client.chat.completions.create(ask('id'));
  assert.match(miss._request_id, /^req_upstream_/);
  assert.ok(hit._request_id && hit._request_id !== miss._request_id, `expected an id of ours, got ${hit._request_id}`);
});

test('what varies by call does not count, what may change the answer does', async () => {
  let call = 0;
  await missThenHit(setup, () => {
    call += 1;
    const headers = { 'X-Request-Id': `call-${call}`, 'Idempotency-Key': `key-${call}` };
    return client.chat.completions.create(ask('options'), { headers, timeout: 9000 + call }).withResponse();
  });
  const { response } = await client.chat.completions.create({ ...ask('options'), seed: 1 }).withResponse();
  assert.equal(response.headers.get('x-cache'), 'MISS');
});

test('another key never hits', async () => {
  const other = new OpenAI({ apiKey: 'sk-bob', baseURL: `${setup.url}/v1`, maxRetries: 0 });
  const mine = await client.chat.completions.create(ask('private'));
  const { data, response } = await other.chat.completions.create(ask('private')).withResponse();
  assert.equal(response.headers.get('x-cache'), 'MISS');
  assert.notDeepEqual(data, mine);
});

test('an upstream error keeps its class, and is not cached', async () => {
  setup.upstream.once((request, response) => {
    response.writeHead(429, { 'content-type': 'application/json', 'retry-after-ms': '5' });
    response.end('{"error":{"message":"slow down","type":"rate_limit","code":"rate_limited"}}');
  });
  await assert.rejects(client.chat.completions.create(ask('limited')), (error) => {
    assert.ok(error instanceof OpenAI.RateLimitError, `expected RateLimitError, got ${error}`);
    assert.equal(error.code, 'rate_limited');
    return true;
  });
  const { response } = await client.chat.completions.create(ask('limited')).withResponse();
  assert.equal(response.headers.get('x-cache'), 'MISS');
});

test('the SDK\'s own retries get through to upstream', async () => {
  for (let i = 0; i < 2; i += 1) {
    setup.upstream.once((request, response) => {
      response.writeHead(500, { 'content-type': 'application/json', 'retry-after-ms': '5' });
      response.end('{"error":{"message":"oops","type":"server_error","code":null}}');
    });
  }
  const patient = new OpenAI({ apiKey: 'sk-alice', baseURL: `${setup.url}/v1`, maxRetries: 3 });
  const answer = await patient.chat.completions.create(ask('retried'));
  assert.match(answer.choices[0].message.content, /^answer/);
});

test('an upstream that hangs up is a 502 the SDK understands', async () => {
  setup.upstream.once((request) => request.socket.destroy());
  await assert.rejects(client.chat.completions.create(ask('hung up')), (error) => {
    assert.ok(error instanceof OpenAI.InternalServerError, `expected InternalServerError, got ${error}`);
    assert.equal(error.status, 502);
    assert.ok(['upstream_protocol_error', 'upstream_unreachable'].includes(error.code), `code ${error.code}`);
    assert.ok(error.type && error.message.includes('502'));
    return true;
  });
});

test('a stream cut in the middle is an error in the SDK, not half an answer', async () => {
  setup.upstream.once((request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const half = { id: 'x', object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content: 'half' } }] };
    response.write(`data: ${JSON.stringify(half)}\n\n`, () => request.socket.destroy());
  });
  const stream = await client.chat.completions.create({ ...ask('cut'), stream: true });
  await assert.rejects(collect(stream));
  await missThenHit(setup,
    () => client.chat.completions.create({ ...ask('cut'), stream: true }).withResponse(), collect);
});

test('a timeout upstream is a 504 the SDK understands', async () => {
  const impatient = await Setup.start({ first_byte_timeout: '200ms' });
  try {
    impatient.upstream.once(() => {});
    const asking = new OpenAI({ apiKey: 'sk', baseURL: `${impatient.url}/v1`, maxRetries: 0 });
    await assert.rejects(asking.chat.completions.create(ask('late')), (error) => {
      assert.ok(error instanceof OpenAI.InternalServerError, `expected InternalServerError, got ${error}`);
      assert.deepEqual([error.status, error.code], [504, 'upstream_timeout']);
      return true;
    });
  } finally {
    await impatient.stop();
  }
});

test('what retrying cannot mend is not retried', async () => {
  const fetching = countingFetch();
  const patient = new OpenAI({ apiKey: 'sk-alice', baseURL: `${setup.url}/v1`, maxRetries: 3, fetch: fetching });
  const headers = { 'Cache-Control': 'only-if-cached' };
  await assert.rejects(patient.chat.completions.create(ask('never asked'), { headers }), (error) => {
    assert.deepEqual([error.status, error.code], [504, 'only_if_cached_miss']);
    assert.equal(error.headers.get('x-should-retry'), 'false');
    return true;
  });
  assert.equal(fetching.calls, 1, 'x-should-retry: false must be obeyed');
});

test('a bad control is a BadRequestError that says which', async () => {
  await assert.rejects(client.chat.completions.create(ask('bad'), { headers: { 'Refrain-TTL': 'soon' } }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError, `expected BadRequestError, got ${error}`);
    assert.equal(error.code, 'request_invalid');
    assert.match(error.message, /Refrain-TTL/i);
    return true;
  });
});
