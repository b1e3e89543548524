// The unmodified Google SDK: what a hit parses to is what the miss parsed to. SPEC sections 3 and 6.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { ApiError, GoogleGenAI } from '@google/genai';

import { Setup, collect, missThenHit } from './refrain.mjs';

let setup, client;
const model = 'gemini-2.5-flash';
const clientOf = (apiKey) => new GoogleGenAI({ apiKey, httpOptions: { baseUrl: setup.url } });

before(async () => {
  setup = await Setup.start();
  client = clientOf('AIza-alice');
});
after(() => setup.stop());

/** As missThenHit wants it; the SDK gives the head with each answer, which is no part of what was answered. */
const asking = (contents, config, by = client) => async () => {
  const { sdkHttpResponse, ...data } = await by.models.generateContent({ model, contents, config });
  return { data, response: { headers: new Headers(sdkHttpResponse.headers) } };
};

async function streaming(contents) {
  const pieces = await collect(await client.models.generateContentStream({ model, contents }));
  const { headers } = pieces[0].sdkHttpResponse;
  return { data: pieces.map(({ sdkHttpResponse, ...piece }) => piece), response: { headers: new Headers(headers) } };
}

test('an answer', async () => {
  const answer = await missThenHit(setup, asking('hello'));
  assert.match(answer.candidates[0].content.parts[0].text, /^answer \d+, naïve 😀$/);
  assert.equal(answer.usageMetadata.totalTokenCount, 12);
});

test('streamed', async () => {
  const pieces = await missThenHit(setup, () => streaming('hello'));
  const text = pieces.map((piece) => piece.candidates[0].content.parts[0].text).join('');
  assert.match(text, /in pieces$/);
  assert.equal(pieces.at(-1).candidates[0].finishReason, 'STOP');
});

test('calls of functions', async () => {
  const tools = [{ functionDeclarations: [{ name: 'weather', parametersJsonSchema: {
    type: 'object', properties: { city: { type: 'string' } } } }] }];
  const answer = await missThenHit(setup, asking('tools', { tools }));
  assert.match(answer.candidates[0].content.parts[0].functionCall.args.city, /^city \d+$/);
});

test('embeddings', async () => {
  const answer = await missThenHit(setup, async () => {
    const { sdkHttpResponse, ...data } = await client.models.embedContent(
      { model: 'gemini-embedding-001', contents: ['one', 'two'] });
    return { data, response: { headers: new Headers(sdkHttpResponse.headers) } };
  });
  assert.equal(answer.embeddings.length, 2);
});

test('search is never from memory', async () => {
  const { response } = await asking('news', { tools: [{ googleSearch: {} }] })();
  assert.equal(response.headers.get('x-cache'), 'BYPASS');
});

test('another key never hits', async () => {
  await asking('private')();
  const { response } = await asking('private', undefined, clientOf('AIza-bob'))();
  assert.equal(response.headers.get('x-cache'), 'MISS');
});

test('an error of ours is one that the SDK understands', async () => {
  const stopped = await Setup.start();
  await stopped.upstream.stop();
  const lost = new GoogleGenAI({ apiKey: 'k', httpOptions: { baseUrl: stopped.url } });
  await assert.rejects(lost.models.generateContent({ model, contents: 'hello' }), (error) => {
    assert.ok(error instanceof ApiError, `expected ApiError, got ${error}`);
    assert.equal(error.status, 502);
    assert.match(error.message, /UNAVAILABLE/);
    return true;
  });
  await stopped.stop();
});
