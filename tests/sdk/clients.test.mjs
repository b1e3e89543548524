// Unmodified SDKs with a client's token in place of an API key, where Refrain holds the key. docs/clients.md
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';

import Anthropic from '@anthropic-ai/sdk';
import { GoogleGenAI } from '@google/genai';
import { Ollama } from 'ollama';
import OpenAI from 'openai';

import { Setup } from './refrain.mjs';

const ours = 'sk-upstream-9f8e7d6c';
const alice = `rfr_${'A'.repeat(43)}`;
const stranger = `rfr_${'X'.repeat(43)}`;

let setup;

before(async () => {
  setup = await Setup.start({ credential: ours }, undefined,
    { clients: { alice: { token_sha256: createHash('sha256').update(alice).digest('hex') } } });
});
after(() => setup.stop());

const sdks = {
  openai(token) {
    const client = new OpenAI({ apiKey: token, baseURL: `${setup.url}/v1` });
    return () => client.chat.completions.create({ model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'hi' }] });
  },
  anthropic(token) {
    const client = new Anthropic({ apiKey: token, baseURL: setup.url });
    return () => client.messages.create(
      { model: 'claude-sonnet-4-5', max_tokens: 64, messages: [{ role: 'user', content: 'hi' }] });
  },
  google(token) {
    const client = new GoogleGenAI({ apiKey: token, httpOptions: { baseUrl: setup.url } });
    return async () => {
      const answer = await client.models.generateContent({ model: 'gemini-2.5-flash', contents: 'hi' });
      delete answer.sdkHttpResponse; // its headers say which was the hit
      return answer;
    };
  },
  ollama(token) {
    const client = new Ollama({ host: setup.url, headers: { Authorization: `Bearer ${token}` } });
    return () => client.chat({ model: 'llama3.2', messages: [{ role: 'user', content: 'hi' }] });
  },
};

for (const [name, sdk] of Object.entries(sdks)) {
  test(`${name}: the token goes where the key went, and upstream is shown ours alone`, async () => {
    const count = setup.upstream.requests.length;
    const ask = sdk(alice);
    const missed = await ask();
    assert.deepEqual(await ask(), missed);
    assert.equal(setup.upstream.requests.length, count + 1);
    const { headers, url } = setup.upstream.requests.at(-1);
    assert.equal(headers.authorization, `Bearer ${ours}`);
    assert.ok(!`${url} ${JSON.stringify(headers)}`.includes(alice));
  });

  test(`${name}: a stranger is told so once, and not from the cache`, async () => {
    const count = setup.upstream.requests.length;
    await assert.rejects(sdk(stranger)(), (error) => (error.status ?? error.status_code) === 401);
    assert.equal(setup.upstream.requests.length, count);
  });
}
