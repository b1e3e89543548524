// The real binary between an SDK and the scripted upstream.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { Upstream } from './upstream.mjs';

const binary = process.env.REFRAIN_BIN ?? fileURLToPath(new URL('../../build/refrain', import.meta.url));

export class Setup {
  /** @options go to the one upstream: { first_byte_timeout: '300ms' }; @tls has it speak HTTP/2 over TLS; @groups are
   * further ones of the configuration. */
  static async start(options = {}, tls = undefined, groups = {}) {
    const setup = new Setup();
    setup.upstream = await Upstream.start(tls);
    setup.folder = await mkdtemp(join(tmpdir(), 'refrain-sdk-'));
    const file = join(setup.folder, 'refrain.yaml');
    await writeFile(file, JSON.stringify({ // JSON is YAML, too
      listen: { address: '127.0.0.1:0' },
      admin: { address: '127.0.0.1:0' },
      upstreams: { default: { url: setup.upstream.url, ...options } },
      cache: { state_dir: join(setup.folder, 'state') },
      log: { format: 'json' },
      ...groups,
    }));
    setup.process = spawn(binary, ['serve', '--config', file], { stdio: ['ignore', 'ignore', 'pipe'] });
    setup.log = [];
    await setup.#listening(groups.listen?.tls ? 'https' : 'http');
    return setup;
  }

  async #listening(scheme) {
    const lines = createInterface({ input: this.process.stderr });
    const ready = new Promise((resolve, reject) => {
      lines.on('line', (line) => {
        this.log.push(line);
        if (line.includes('"listening"')) resolve(JSON.parse(line).proxy);
      });
      this.process.on('error', reject);
      this.process.on('exit', (code) => reject(new Error(`exit ${code}: ${this.log.join('\n')}`)));
    });
    this.url = `${scheme}://${await ready}`;
  }

  async stop() {
    const ended = once(this.process, 'exit');
    this.process.kill('SIGTERM');
    const [code] = await ended;
    await this.upstream.stop();
    await rm(this.folder, { recursive: true });
    assert.equal(code, 0, `expected exit 0 after SIGTERM:\n${this.log.slice(-50).join('\n')}`);
  }
}

/** A key and a self-signed certificate for 127.0.0.1, as files in @folder: their paths. */
export function makeCertificate(folder) {
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
  execFileSync('openssl', ['req', '-x509', ...curve, '-nodes', '-days', '2',
    ...subject, '-keyout', key, '-out', cert], { stdio: 'ignore' });
  return { key, cert };
}

/** Asks by @ask, which gives { data, response } as .withResponse() does, until the answer comes from memory, and checks
 * that upstream was asked once and each parses to the same. @read turns data into plain values. SDKs leave a stream at
 * its last event, so the next asking may still join it. */
export async function missThenHit(setup, ask, read = (data) => data) {
  const before = setup.upstream.requests.length;
  const again = read === collect ? ['HIT', 'COALESCED'] : ['HIT'];
  const first = await ask();
  const missed = await read(first.data);
  assert.equal(first.response.headers.get('x-cache'), 'MISS');
  for (let outcome = ''; outcome !== 'HIT';) {
    const { data, response } = await ask();
    assert.deepEqual(await read(data), missed);
    outcome = response.headers.get('x-cache');
    assert.ok(again.includes(outcome), `expected ${again.join(' or ')}, got ${outcome}`);
  }
  assert.equal(setup.upstream.requests.length, before + 1, 'upstream must be asked once');
  return missed;
}

/** Every event of a stream. */
export async function collect(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  assert.ok(events.length > 1, `expected a stream of events, got ${events.length}`);
  return events;
}

/** A fetch that counts its calls. */
export function countingFetch() {
  const counting = (...args) => {
    counting.calls += 1;
    return fetch(...args);
  };
  counting.calls = 0;
  return counting;
}
