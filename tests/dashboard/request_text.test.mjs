// What people paste, and what becomes of it.
import assert from "node:assert/strict";
import test from "node:test";

import { readRequest } from "../../src/ops/dashboard/request_text.mjs";

const read = (text) => JSON.parse(readRequest(text).body);

test("a curl command, as documentation has it", () => {
  const command = String.raw`$ curl https://api.openai.com/v1/chat/completions?x=1 \
    -H "Content-Type: application/json" \
    -H 'Authorization: Bearer sk-1' \
    -s --max-time 5 \
    -d '{"model": "gpt-4o", "messages": [{"role": "user", "content": "it'\''s \"so\""}]}'`;
  assert.deepEqual(read(command), {
    method: "POST", path: "/v1/chat/completions?x=1",
    headers: [["Content-Type", "application/json"], ["Authorization", "Bearer sk-1"]],
    body: '{"model": "gpt-4o", "messages": [{"role": "user", "content": "it\'s \\"so\\""}]}',
  });
});

test("curl's other ways to say the same", () => {
  assert.deepEqual(read("curl -XGET localhost:8080/v1/models"), { method: "GET", path: "/v1/models", headers: [] });
  assert.deepEqual(read(`curl --url http://h/p --json "{\\"a\\": \\"$HOME\\"}"`), {
    method: "POST", path: "/p", headers: [["Content-Type", "application/json"], ["Accept", "application/json"]], body: '{"a": "$HOME"}' });
  assert.deepEqual(read("curl http://h/p --data-raw $'a\\'\\n\\u00e4' --header=X:1"), {
    method: "POST", path: "/p", headers: [["X", "1"], ["Content-Type", "application/x-www-form-urlencoded"]], body: "a'\nä" });
  assert.equal(read("curl -d a=1 -d b=2 http://h/p").body, "a=1&b=2");
});

test("a body alone goes where such bodies go, as it is written", () => {
  const bodies = [
    ['{"model":"gpt-4o","messages":[]}', "/v1/chat/completions"],
    ['{"model":"claude-sonnet-4-5","max_tokens":9,"messages":[]}', "/v1/messages"],
    ['{"model":"text-embedding-3-small","input":"x"}', "/v1/embeddings"],
    ['{"model":"gpt-4o","input":"x"}', "/v1/responses"],
    ['{"model":"m","prompt":"x"}', "/v1/completions"],
  ];
  for (const [body, path] of bodies) assert.equal(read(body).path, path);
  assert.ok(readRequest('{"messages": [], "temperature": 1.0}').body.includes('{"messages": [], "temperature": 1.0}'),
    "1.0 stays 1.0: the key is made of what was written");
});

test("the API's own form goes as it is", () => {
  const text = '{"method": "POST", "path": "/v1/x", "body": {"a": 1.0}}';
  assert.equal(readRequest(text).body, text);
});

test("the text of an HTTP request gets the line ends that HTTP has, its body keeps its own", () => {
  assert.equal(readRequest("POST /v1/x HTTP/1.1\nHost: a\n\n{\n}").body, "POST /v1/x HTTP/1.1\r\nHost: a\r\n\r\n{\n}");
  assert.equal(readRequest("GET /v1/models HTTP/1.1\r\nHost: a").body, "GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n");
});

test("what cannot be read says why", () => {
  for (const [text, why] of [
    ["", /Paste/], ["{", /none/], ['{"a": 1}', /where it goes/], ["curl -d x", /no address/], ["curl -H", /nothing behind/],
    ["curl http://h -d @file.json", /paste what it holds/], ["curl 'http://h", /not closed/],
  ]) assert.throws(() => readRequest(text), why, text);
});
