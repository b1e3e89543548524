// A user's program: asks Refrain at the https address of its one argument by both SDKs, whole and streamed, each twice,
// and prints what it got as JSON, { 'openai whole': [{ cache, parsed }, …], … }. A process of its own, because Node reads
// NODE_EXTRA_CA_CERTS once, when it starts.
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';

import { collect } from './refrain.mjs';

const url = process.argv[2];
const openai = new OpenAI({ apiKey: 'sk-alice', baseURL: `${url}/v1`, maxRetries: 0 });
const anthropic = new Anthropic({ apiKey: 'sk-ant-alice', baseURL: url, maxRetries: 0 });
const chat = { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'hello' }] };
const message = { model: 'claude-sonnet-4-5', max_tokens: 64, messages: [{ role: 'user', content: 'hello' }] };

const asks = {
  'openai whole': () => openai.chat.completions.create(chat),
  'openai streamed': () => openai.chat.completions.create({ ...chat, stream: true }),
  'anthropic whole': () => anthropic.messages.create(message),
  'anthropic streamed': () => anthropic.messages.create({ ...message, stream: true }),
};

const got = {};
for (const [name, ask] of Object.entries(asks)) {
  got[name] = [];
  // An SDK leaves a stream at its last event, and the next asking may still join it: until the answer is stored.
  do {
    const { data, response } = await ask().withResponse();
    const parsed = name.endsWith('streamed') ? await collect(data) : data;
    got[name].push({ cache: response.headers.get('x-cache'), parsed });
  } while (got[name].length < 2 || got[name].at(-1).cache === 'COALESCED');
}
process.stdout.write(JSON.stringify(got));
