// Server-sent events out of a stream of bytes, as the HTML standard tells (section 9.2.6, "Interpreting an event
// stream"). EventSource would do this, but cannot send the token.

/** Cuts text, as it comes, into events. */
export class EventParser {
  #rest = "";
  #fresh = true;
  #event = { id: "", name: "", data: [] };

  /** The events that @text completes: [{id, name, data}]. */
  push(text) {
    const found = [];
    let at = 0;
    let buffered = this.#rest + text;
    if (this.#fresh && buffered.length > 0) {
      this.#fresh = false;
      if (buffered.charCodeAt(0) === 0xfeff) buffered = buffered.slice(1);
    }
    for (;;) {
      const end = lineEnd(buffered, at);
      if (!end) break;
      this.#line(buffered.slice(at, end.from), found);
      at = end.to;
    }
    this.#rest = buffered.slice(at);
    return found;
  }

  #line(line, found) {
    if (line === "") {
      this.#finish(found);
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment: the stream is still there
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
    if (name === "data") this.#event.data.push(value);
    else if (name === "event") this.#event.name = value;
    else if (name === "id" && !value.includes("\0")) this.#event.id = value;
  }

  #finish(found) {
    const { id, name, data } = this.#event;
    if (data.length > 0) found.push({ id, name: name || "message", data: data.join("\n") });
    this.#event = { id, name: "", data: [] }; // the id holds until another comes
  }
}

/** Where the first line from @at on ends; null where its end has not come, or may go on: CR before LF. */
function lineEnd(text, at) {
  for (let i = at; i < text.length; i++) {
    if (text[i] === "\n") return { from: i, to: i + 1 };
    if (text[i] !== "\r") continue;
    if (i + 1 === text.length) return null;
    return { from: i, to: text[i + 1] === "\n" ? i + 2 : i + 1 };
  }
  return null;
}

/** Calls @onEvents with each batch of events of a fetched stream, until it ends. */
export async function readEvents(response, onEvents) {
  const parser = new EventParser();
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = parser.push(decoder.decode(value, { stream: true }));
    if (events.length > 0) onEvents(events);
  }
}
