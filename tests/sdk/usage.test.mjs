// With `usage_on_hit: zero`, what unmodified SDKs make of a hit: the same answer, and a usage that adds up to nothing.
// docs/savings.md.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';

import { Setup, collect } from './refrain.mjs';

let setup, openai, anthropic;

before(async () => {
  setup = await Setup.start({}, undefined, { rules: [{ usage_on_hit: 'zero' }] });
  openai = new OpenAI({ apiKey: 'sk-alice', baseURL: `${setup.url}/v1`, maxRetries: 0 });
  anthropic = new Anthropic({ apiKey: 'sk-ant-alice', baseURL: setup.url, maxRetries: 0 });
});
after(() => setup.stop());

const chat = { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'hello' }] };
const message = { model: 'claude-sonnet-4-5', max_tokens: 64, messages: [{ role: 'user', content: 'hello' }] };

/** Every number in a usage, however deep. */
function numbers(value) {
  if (typeof value === 'number') return [value];
  return value && typeof value === 'object' ? Object.values(value).flatMap(numbers) : [];
}

/** @ask twice: the second is a hit, whose usage is zero where the first one's was not, and the rest the same. */
async function missThenFreeHit(ask, usageOf) {
  const [first, second] = [await ask(), await ask()];
  const [told, zeros] = [numbers(usageOf(first)), numbers(usageOf(second))];
  assert.ok(told.some((n) => n > 0), 'the call has cost something');
  assert.deepEqual(zeros, told.map(() => 0));
  const without = (value) => JSON.stringify(value, (name, inner) => (name === 'usage' ? undefined : inner));
  assert.equal(without(second), without(first));
}

test('chat', () => missThenFreeHit(() => openai.chat.completions.create(chat), (answer) => answer.usage));

test('chat, streamed', () => missThenFreeHit(
  async () => collect(await openai.chat.completions.create(
    { ...chat, stream: true, stream_options: { include_usage: true } })),
  (chunks) => chunks.at(-1).usage));

test('embeddings', () => missThenFreeHit(
  () => openai.embeddings.create({ model: 'text-embedding-3-small', input: 'hello' }), (answer) => answer.usage));

test('messages', () => missThenFreeHit(() => anthropic.messages.create(message), (answer) => answer.usage));

test('messages by the stream helper, which adds up what two events tell', () => missThenFreeHit(
  () => anthropic.messages.stream(message).finalMessage(), (answer) => answer.usage));
