// What people paste to have a request explained: the API's own JSON, a body alone, the text of an HTTP request, or a
// curl command. The API takes the first and the third; the others become the first here. docs/admin-api.md

/** What to send to POST /explain for pasted @text: {body, note}. Throws an Error that says what is wrong. */
export function readRequest(text) {
  const trimmed = text.trim();
  if (trimmed === "") throw new Error("Paste a request first.");
  if (/^(\$\s+)?curl\s/.test(trimmed)) return { body: JSON.stringify(requestOfCurl(trimmed)), note: "Read as a curl command." };
  if (trimmed.startsWith("{")) return readJson(trimmed);
  return { body: withCrlf(trimmed), note: "Read as the text of an HTTP request." };
}

function readJson(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch (fault) {
    throw new Error(`This begins like JSON, but is none: ${fault.message}`);
  }
  if (["path", "url", "target"].some((name) => name in value)) return { body: text, note: "" };
  const path = pathOfBody(value);
  if (!path) throw new Error("Say where it goes: add “path”, or paste the whole request.");
  // The body's own text, not JSON.stringify of it: the key is made of what was written.
  return { body: `{"method":"POST","path":${JSON.stringify(path)},"body":${text}}`,
           note: `Read as the body of POST ${path}. Headers count too: give them where it matters.` };
}

/** The API that a body without an address is most likely meant for. */
function pathOfBody(body) {
  if ("messages" in body) return "system" in body || "max_tokens" in body && String(body.model).startsWith("claude")
    ? "/v1/messages" : "/v1/chat/completions";
  if ("prompt" in body) return "/v1/completions";
  if ("input" in body) return /embed/.test(String(body.model)) ? "/v1/embeddings" : "/v1/responses";
  return null;
}

/** A head has CRLF; what is pasted seldom does. The body stays as it is. */
function withCrlf(text) {
  const [head, ...rest] = text.split(/\r?\n\r?\n/);
  const body = rest.length > 0 ? text.slice(text.search(/\r?\n\r?\n/)).replace(/^\r?\n\r?\n/, "") : "";
  return `${head.split(/\r?\n/).join("\r\n")}\r\n\r\n${body}`;
}

// curl

const TAKES_VALUE = new Set(["-o", "--output", "-u", "--user", "-m", "--max-time", "--connect-timeout", "-A",
  "--user-agent", "-e", "--referer", "--cacert", "-w", "--write-out", "-x", "--proxy", "--retry"]);

function requestOfCurl(command) {
  const args = shellWords(command.replace(/^\$\s+/, "")).slice(1);
  const request = { method: "", url: "", headers: [], body: [] };
  for (let i = 0; i < args.length; i++) {
    const { name, value, used } = option(args, i);
    i += used;
    takeOption(request, name, value);
  }
  if (!request.url) throw new Error("The curl command names no address.");
  return shaped(request);
}

/** `--name value`, `--name=value`, `-Xvalue`, or a word of its own. */
function option(args, i) {
  const word = args[i];
  const joined = /^(--[a-z-]+)=([\s\S]*)$/.exec(word);
  if (joined) return { name: joined[1], value: joined[2], used: 0 };
  const glued = /^(-[XHd])([\s\S]+)$/.exec(word);
  if (glued) return { name: glued[1], value: glued[2], used: 0 };
  const wants = TAKES_VALUE.has(word) || /^(-X|--request|-H|--header|-d|--data(-raw|-binary|-ascii)?|--json|--url)$/.test(word);
  if (!wants) return { name: word, value: "", used: 0 };
  if (i + 1 >= args.length) throw new Error(`${word} has nothing behind it.`);
  return { name: word, value: args[i + 1], used: 1 };
}

function takeOption(request, name, value) {
  switch (name) {
    case "-X": case "--request": request.method = value; break;
    case "-H": case "--header": request.headers.push(header(value)); break;
    case "--json":
      request.headers.push(["Content-Type", "application/json"], ["Accept", "application/json"]);
      request.body.push(data(value));
      break;
    case "-d": case "--data": case "--data-raw": case "--data-binary": case "--data-ascii":
      request.body.push(data(value));
      break;
    case "--url": request.url = value; break;
    default: if (!name.startsWith("-") && !request.url) request.url = name;
  }
}

function header(line) {
  const colon = line.indexOf(":");
  return colon < 0 ? [line, ""] : [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
}

function data(value) {
  if (value.startsWith("@")) throw new Error(`curl would read the body from ${value.slice(1)}: paste what it holds.`);
  return value;
}

function shaped({ method, url, headers, body }) {
  const at = new URL(/^[a-z]+:\/\//i.test(url) ? url : `http://${url}`);
  const out = { method: method || (body.length > 0 ? "POST" : "GET"), path: at.pathname + at.search, headers };
  if (body.length === 0) return out;
  if (!headers.some(([name]) => name.toLowerCase() === "content-type"))
    out.headers = [...headers, ["Content-Type", "application/x-www-form-urlencoded"]];
  return { ...out, body: body.join("&") };
}

/** The words of a POSIX shell command: quotes, backslashes, and lines that go on. */
function shellWords(command) {
  const found = [];
  const piece = /\s+|\\\r?\n|\$'((?:[^'\\]|\\[\s\S])*)'|'([^']*)'|"((?:[^"\\]|\\[\s\S])*)"|\\([\s\S])|([^\s\\'"$]+|\$)/gy;
  let word = null;
  let at = 0;
  for (let m = piece.exec(command); m; m = piece.exec(command)) {
    at = piece.lastIndex;
    const [all, ansi, single, double, escaped, plain] = m;
    const part = ansi !== undefined ? ansiText(ansi) : single ?? doubleText(double) ?? escaped ?? plain;
    if (part !== undefined) word = (word ?? "") + part;
    else if (!all.startsWith("\\") && word !== null) {
      found.push(word);
      word = null;
    }
  }
  if (at < command.length) throw new Error("A quote in the curl command is not closed.");
  return word === null ? found : [...found, word];
}

const doubleText = (text) => text?.replace(/\\(["\\$`])/g, "$1").replace(/\\\r?\n/g, "");
const ANSI = { n: "\n", r: "\r", t: "\t" };
const ansiText = (text) => text.replace(/\\(?:u([0-9a-fA-F]{4})|([\s\S]))/g,
  (_, code, sign) => (code ? String.fromCharCode(parseInt(code, 16)) : ANSI[sign] ?? sign));
