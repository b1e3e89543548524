// The stream of events, however it is cut on its way.
import assert from "node:assert/strict";
import test from "node:test";

import { EventParser } from "../../src/ops/dashboard/sse.mjs";

const whole = (text) => new EventParser().push(text);

test("an event has its name, its data and the last id that was told", () => {
  assert.deepEqual(whole("id: a-1\nevent: HIT\ndata: {}\n\ndata: x\ndata:y\n\n"), [
    { id: "a-1", name: "HIT", data: "{}" }, { id: "a-1", name: "message", data: "x\ny" }]);
});

test("comments, unknown fields and events without data are nothing", () => {
  assert.deepEqual(whole(": still here\n\nretry: 5\nevent: HIT\n\nother\n\n"), []);
});

test("what is not ended has not happened yet", () => {
  assert.deepEqual(whole("data: 1\n"), []);
});

test("wherever it is cut, and whichever line ends it has, the events are the same", () => {
  for (const end of ["\n", "\r\n", "\r"]) {
    const text = ["\ufeffid: 1", "event: HIT", "data: {\"ä\":1}", "", ": beat", "", "data: two", "data: lines", "", ""].join(end);
    const expected = whole(`${text}\n`);
    assert.equal(expected.length, 2);
    for (let cut = 0; cut <= text.length; cut++) {
      const parser = new EventParser();
      assert.deepEqual([...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut)), ...parser.push("\n")], expected,
        `cut at ${cut}, line end ${JSON.stringify(end)}`);
    }
    const bytewise = new EventParser();
    assert.deepEqual([...`${text}\n`].flatMap((sign) => bytewise.push(sign)), expected);
  }
});
