// Refrain's own listener speaks TLS, and the SDKs know its certificate as users have them know it, by
// NODE_EXTRA_CA_CERTS: whole answers and streams are MISS and then HIT as without TLS. SPEC section 2.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import OpenAI from 'openai';

import { Setup, makeCertificate } from './refrain.mjs';

let folder, setup, got;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'refrain-tls-'));
  const { key, cert } = makeCertificate(folder);
  setup = await Setup.start({}, undefined, { listen: { address: '127.0.0.1:0', tls: { key, cert } } });
  const client = fileURLToPath(new URL('tls_client.mjs', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [client, setup.url],
    { env: { ...process.env, NODE_EXTRA_CA_CERTS: cert } });
  got = JSON.parse(stdout);
});
after(async () => {
  await setup.stop();
  rmSync(folder, { recursive: true });
});

for (const name of ['openai whole', 'openai streamed', 'anthropic whole', 'anthropic streamed']) {
  test(`${name}, over https`, () => {
    const [first, ...again] = got[name];
    assert.deepEqual([first.cache, again.at(-1).cache], ['MISS', 'HIT']);
    for (const { parsed } of again) assert.deepEqual(parsed, first.parsed);
  });
}

test('upstream was asked once for each', () => {
  assert.equal(setup.upstream.requests.length, 4);
});

test('an SDK that does not know the certificate refuses to connect', async () => {
  const wary = new OpenAI({ apiKey: 'sk-alice', baseURL: `${setup.url}/v1`, maxRetries: 0 });
  await assert.rejects(wary.models.list(), OpenAI.APIConnectionError);
});
