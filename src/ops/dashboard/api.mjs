// The admin API, asked with the token. All that the page knows comes through here.
//
// The token lives in sessionStorage: it survives a reload, ends with the tab, no other site or tab can read it, and no
// browser sends it by itself as it would a cookie. It is never in a URL. Where storage is forbidden it is kept in memory.

const NAME = "refrain.token";
const PATIENCE_MS = 20_000;
const root = new URL("api/v1", document.baseURI).href; // relative: a proxy may have put a prefix before it

/** The API has answered, and it was no success. */
export class ApiError extends Error {
  constructor(status, error, retry_s) {
    super(error.message ?? `the answer was ${status}`);
    Object.assign(this, { status, code: error.code, where: error.where, expected: error.expected, retry_s });
  }

  /** For people: what is wrong, and what would be right. */
  get told() {
    const where = this.where ? ` (${this.where})` : "";
    const expected = this.expected ? `; expected: ${this.expected}` : "";
    return `${this.message}${where}${expected}.`;
  }
}

/** Nobody has answered. */
export class Unreachable extends Error {}

let token = "";

export const session = {
  /** Called when the API no longer takes the token. */
  onRefused: () => {},

  restore() {
    try {
      token = sessionStorage.getItem(NAME) ?? "";
    } catch {
      token = "";
    }
    return token !== "";
  },
  begin(given) {
    token = given;
    try {
      sessionStorage.setItem(NAME, given);
    } catch {
      // in memory, then
    }
  },
  end() {
    token = "";
    try {
      sessionStorage.removeItem(NAME);
    } catch {
      // it was in memory
    }
  },
};

async function request(path, { method = "GET", body, headers = {}, signal }) {
  let response;
  try {
    response = await fetch(root + path, {
      method, body, signal,
      headers: { ...headers, Authorization: `Bearer ${token}` },
      cache: "no-store", credentials: "omit", redirect: "error",
    });
  } catch (fault) {
    if (signal?.aborted && signal.reason?.name !== "TimeoutError") throw fault;
    throw new Unreachable("the instance does not answer");
  }
  if (!response.ok) throw await failure(response);
  return response;
}

async function failure(response) {
  const told = await response.json().catch(() => ({}));
  const error = new ApiError(response.status, told.error ?? {}, Number(response.headers.get("Retry-After")) || 0);
  if (error.status === 401) session.onRefused();
  return error;
}

/** What the API says to @path below /api/v1: parsed JSON. @options: method, body (text, or a value that becomes JSON). */
export async function ask(path, { method, body } = {}) {
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  const response = await request(path, { method, body: text, signal: AbortSignal.timeout(PATIENCE_MS) });
  try {
    return await response.json();
  } catch {
    throw new Unreachable("the answer was cut off");
  }
}

/** A file that the API makes, for the browser to save. */
export async function download(path, name) {
  const response = await request(path, { signal: AbortSignal.timeout(PATIENCE_MS) });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

/** The stream of events, from behind @lastId on; ends by @signal. */
export function openEvents({ types, lastId, signal }) {
  const query = types.length > 0 ? `?types=${types.join(",")}` : "";
  return request(`/events${query}`, { signal, headers: lastId ? { "Last-Event-ID": lastId } : {} });
}
