// Numbers as the dashboard writes them.
import assert from "node:assert/strict";
import test from "node:test";

import * as as from "../../src/ops/dashboard/format.mjs";

const table = (name, write, rows) => test(name, () => {
  for (const [given, expected] of rows) assert.equal(write(given), expected, `of ${given}`);
});

table("what is not known is said so, never shown as a number", (write) => write(null), [
  [as.count, "not known"], [as.short, "not known"], [as.percent, "not known"], [as.dollars, "not known"],
  [as.bytes, "not known"], [as.seconds, "not known"], [as.time, "not known"], [as.text, "not known"], [as.rate, "not known"],
]);

table("durations take the unit that people would", as.seconds, [
  [0, "0 s"], [0.000_000_4, "0.4 µs"], [0.000_182, "182 µs"], [0.000_999_9, "1 ms"], [0.0123, "12.3 ms"], [0.999_9, "1 s"],
  [1.254, "1.25 s"], [59.4, "59.4 s"], [59.7, "1 min"], [192, "3 min 12 s"], [3600, "1 h"], [7500, "2 h 5 min"],
  [277_200, "3 d 5 h"], [NaN, "not known"], [undefined, "not known"],
]);

table("sizes", as.bytes, [
  [0, "0 B"], [1023, "1,023 B"], [1024, "1 KiB"], [1_572_864, "1.5 MiB"], [10_737_418_240, "10 GiB"],
]);

table("money keeps what is less than a cent", as.dollars, [
  [0, "$0.00"], [12.345, "$12.35"], [0.0123, "$0.01"], [0.000_15, "$0.00015"], [1234.5, "$1,234.50"],
]);

table("large counts are shortened, others are exact", as.short, [
  [0, "0"], [99_999, "99,999"], [123_456, "123.46K"], [16_530_000, "16.53M"],
]);

table("shares", as.percent, [[0, "0 %"], [0.8731, "87.3 %"], [1, "100 %"]]);

table("phrases of the API become sentences", as.sentence, [["", ""], [undefined, ""], ["it is so", "It is so."]]);

test("names of the API become words", () => {
  assert.equal(as.words("error-in-stream"), "Error in stream");
  assert.equal(as.words("half_open"), "Half open");
  assert.equal(as.withUnit(0.818, "ratio"), "81.8 %");
  assert.equal(as.withUnit(0.05, "s"), "50 ms");
  assert.equal(as.withUnit(51, "an hour"), "51 an hour");
});
