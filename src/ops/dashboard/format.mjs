// Numbers, times and sizes as people read them, in the browser's own locale. What is null or missing is "not known".

export const NOT_KNOWN = "not known";

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 2 });
const upTo = [0, 1, 2, 3].map((digits) => new Intl.NumberFormat(undefined, { maximumFractionDigits: digits }));
const money = new Intl.NumberFormat(undefined, { style: "currency", currency: "USD", currencyDisplay: "narrowSymbol" });
const cents = new Intl.NumberFormat(undefined, {
  style: "currency", currency: "USD", currencyDisplay: "narrowSymbol", maximumSignificantDigits: 2,
});
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const clockMinutes = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

const isKnown = (value) => value !== null && value !== undefined && Number.isFinite(Number(value));

/** Three digits that count, no more. */
function significant(value) {
  const size = Math.abs(value);
  return upTo[size >= 100 ? 0 : size >= 10 ? 1 : 2].format(value);
}

/** 12,345 */
export const count = (n) => (isKnown(n) ? whole.format(n) : NOT_KNOWN);

/** 12,345, and from a hundred thousand on 123.46K */
export const short = (n) => (isKnown(n) ? (Math.abs(n) < 100_000 ? whole : compact).format(n) : NOT_KNOWN);

/** 12.3/s */
export const rate = (n) => (isKnown(n) ? `${significant(n)}/s` : NOT_KNOWN);

/** 3.9 × */
export const times = (n) => (isKnown(n) ? `${significant(n)} ×` : NOT_KNOWN);

/** 0.873 is 87.3 % */
export const percent = (ratio) => (isKnown(ratio) ? `${upTo[1].format(ratio * 100)} %` : NOT_KNOWN);

/** $12.34; what is less than a cent keeps two digits that count. */
export function dollars(n) {
  if (!isKnown(n)) return NOT_KNOWN;
  return (n !== 0 && Math.abs(n) < 0.01 ? cents : money).format(n);
}

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** 1.5 MiB */
export function bytes(n) {
  if (!isKnown(n)) return NOT_KNOWN;
  let power = 0;
  let size = Number(n);
  while (Math.abs(size) >= 1024 && power < SIZES.length - 1) {
    size /= 1024;
    power++;
  }
  return `${power === 0 ? whole.format(size) : significant(size)} ${SIZES[power]}`;
}

/** 340 µs, 12.3 ms, 1.25 s, 3 min 12 s, 2 h 5 min, 3 d 4 h */
export function seconds(s) {
  if (!isKnown(s)) return NOT_KNOWN;
  const size = Math.abs(s);
  if (size === 0) return "0 s";
  if (size < 0.000_999_5) return `${significant(s * 1e6)} µs`;
  if (size < 0.999_5) return `${significant(s * 1e3)} ms`;
  if (size < 59.5) return `${significant(s)} s`;
  return longer(s < 0 ? "−" : "", Math.round(size));
}

function longer(sign, total) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, length]) => total >= length);
  const [name, length] = units[first];
  const rest = units[first + 1];
  const head = `${sign}${whole.format(Math.floor(total / length))} ${name}`;
  const left = rest ? Math.floor((total % length) / rest[1]) : 0;
  return left > 0 ? `${head} ${left} ${rest[0]}` : head;
}

function dateOf(at) {
  const date = at === null || at === undefined ? NaN : new Date(at);
  return Number.isNaN(Number(date)) ? null : date;
}

/** 14:03:07 */
export const time = (at) => (dateOf(at) ? clock.format(dateOf(at)) : NOT_KNOWN);
/** 14:03 */
export const minute = (at) => (dateOf(at) ? clockMinutes.format(dateOf(at)) : NOT_KNOWN);
/** 21 Nov 2026, 14:03:07 */
export const dateAndTime = (at) => (dateOf(at) ? day.format(dateOf(at)) : NOT_KNOWN);

/** A name as the API gives it, or "not known". */
export const text = (value) => (value === null || value === undefined || value === "" ? NOT_KNOWN : String(value));

/** 1 entry, 12 entries */
export const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many}`;

/** not_stored is "Not stored" */
export function words(code) {
  const spaced = text(code).replaceAll("_", " ").replaceAll("-", " ");
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}

/** A phrase of the API's as a sentence; nothing of nothing. */
export const sentence = (phrase) => (phrase ? `${phrase.charAt(0).toUpperCase()}${phrase.slice(1)}.` : "");

/** A value with the unit that an alert names. */
export function withUnit(value, unit) {
  switch (unit) {
    case "ratio": return percent(value);
    case "s": case "seconds": return seconds(value);
    case "ms": return seconds(value / 1000);
    case "bytes": return bytes(value);
    case "count": return short(value);
    default: return unit ? `${short(value)} ${unit}` : short(value);
  }
}
