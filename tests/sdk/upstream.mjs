// A scripted upstream for the SDK tests: answers like the API in question, differently each time it is asked, so that a
// repeated answer can only have come from the cache.
import { createHash } from 'node:crypto';
import http from 'node:http';
import http2 from 'node:http2';

const sse = (data, event) =>
  (event ? `event: ${event}\n` : '') + `data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;
const words = (text) => text.split(' ').map((word, i) => (i ? ' ' : '') + word);

const usage = { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 };

const chat = {
  whole(n, asked) {
    const message = asked.tools
      ? { role: 'assistant', content: null, refusal: null, tool_calls: [toolCall(n)] }
      : { role: 'assistant', content: `answer ${n}, naïve 😀`, refusal: null };
    return {
      id: `chatcmpl-${n}`, object: 'chat.completion', created: 1751360400, model: asked.model, usage,
      choices: [{ index: 0, message, logprobs: null, finish_reason: asked.tools ? 'tool_calls' : 'stop' }],
    };
  },
  stream(n, asked) {
    const part = (delta, finish_reason = null) => sse({
      id: `chatcmpl-${n}`, object: 'chat.completion.chunk', created: 1751360400, model: asked.model,
      choices: [{ index: 0, delta, logprobs: null, finish_reason }],
    });
    const parts = [part({ role: 'assistant', content: asked.tools ? null : '' })];
    if (asked.tools) {
      const { arguments: text, name } = toolCall(n).function;
      const opening = { index: 0, id: `call_${n}`, type: 'function', function: { name, arguments: '' } };
      parts.push(part({ tool_calls: [opening] }));
      for (const piece of text.match(/.{1,5}/gs)) {
        parts.push(part({ tool_calls: [{ index: 0, function: { arguments: piece } }] }));
      }
      parts.push(part({}, 'tool_calls'));
    } else {
      for (const word of words(`answer ${n}, naïve 😀, in pieces`)) parts.push(part({ content: word }));
      parts.push(part({}, 'stop'));
    }
    if (asked.stream_options?.include_usage) {
      parts.push(sse({ id: `chatcmpl-${n}`, object: 'chat.completion.chunk', created: 1751360400, model: asked.model,
        choices: [], usage }));
    }
    return [...parts, sse('[DONE]')];
  },
};

function toolCall(n) {
  return { id: `call_${n}`, type: 'function',
    function: { name: 'weather', arguments: JSON.stringify({ city: `city ${n}`, days: n }) } };
}

const embeddings = {
  whole(n, asked) {
    const inputs = [asked.input].flat();
    const data = inputs.map((text, index) => {
      const digest = createHash('sha256').update(`${text} ${n}`).digest();
      const vector = Float32Array.from({ length: 16 }, (_, i) => digest[i] / 256 - 0.5);
      const asBase64 = asked.encoding_format === 'base64';
      const embedding = asBase64 ? Buffer.from(vector.buffer).toString('base64') : [...vector];
      return { object: 'embedding', index, embedding };
    });
    return { object: 'list', data, model: asked.model, usage: { prompt_tokens: 5, total_tokens: 5 } };
  },
};

const responses = {
  whole(n, asked) {
    const content = [{ type: 'output_text', text: `answer ${n}`, annotations: [], logprobs: [] }];
    return {
      id: `resp_${n}`, object: 'response', created_at: 1751360400, status: 'completed', model: asked.model,
      error: null, incomplete_details: null, instructions: null, metadata: {}, parallel_tool_calls: true,
      temperature: 1, top_p: 1, tool_choice: 'auto', tools: [],
      output: [{ type: 'message', id: `msg_${n}`, status: 'completed', role: 'assistant', content }],
      usage: { input_tokens: 5, input_tokens_details: { cached_tokens: 0 }, output_tokens: 7,
        output_tokens_details: { reasoning_tokens: 0 }, total_tokens: 12 },
    };
  },
  stream(n, asked) {
    const done = responses.whole(n, asked);
    const item = done.output[0];
    const where = { item_id: item.id, output_index: 0, content_index: 0 };
    const events = [
      { type: 'response.created', response: { ...done, status: 'in_progress', output: [], usage: null } },
      { type: 'response.output_item.added', output_index: 0, item: { ...item, status: 'in_progress', content: [] } },
      { type: 'response.content_part.added', ...where, part: { ...item.content[0], text: '' } },
      ...words(item.content[0].text)
        .map((delta) => ({ type: 'response.output_text.delta', ...where, delta, logprobs: [] })),
      { type: 'response.output_text.done', ...where, text: item.content[0].text, logprobs: [] },
      { type: 'response.content_part.done', ...where, part: item.content[0] },
      { type: 'response.output_item.done', output_index: 0, item },
      { type: 'response.completed', response: done },
    ];
    return events.map((event, sequence_number) => sse({ ...event, sequence_number }, event.type));
  },
};

const messages = {
  whole(n, asked) {
    const content = asked.tools
      ? [{ type: 'tool_use', id: `toolu_${n}`, name: 'weather', input: { city: `city ${n}`, days: n } }]
      : [{ type: 'text', text: `answer ${n}`, citations: null }];
    return { id: `msg_${n}`, type: 'message', role: 'assistant', model: asked.model, content,
      stop_reason: asked.tools ? 'tool_use' : 'end_turn', stop_sequence: null,
      usage: { input_tokens: 5, output_tokens: 7 } };
  },
  stream(n, asked) {
    const done = messages.whole(n, asked);
    const block = done.content[0];
    const start = asked.tools ? { ...block, input: {} } : { ...block, text: '' };
    const pieces = JSON.stringify(block.input ?? {}).match(/.{1,5}/gs);
    const deltas = asked.tools
      ? pieces.map((partial_json) => ({ type: 'input_json_delta', partial_json }))
      : words(block.text).map((text) => ({ type: 'text_delta', text }));
    const events = [
      { type: 'message_start', message: { ...done, content: [], stop_reason: null } },
      { type: 'content_block_start', index: 0, content_block: start },
      { type: 'ping' },
      ...deltas.map((delta) => ({ type: 'content_block_delta', index: 0, delta })),
      { type: 'content_block_stop', index: 0 },
      { type: 'message_delta', delta: { stop_reason: done.stop_reason, stop_sequence: null },
        usage: { output_tokens: 7 } },
      { type: 'message_stop' },
    ];
    return events.map((event) => sse(event, event.type));
  },
};

const moderations = {
  whole(n, asked) {
    const results = [{ flagged: false, categories: { hate: false }, category_scores: { hate: n / 1e6 } }];
    return { id: `modr-${n}`, model: asked.model, results };
  },
};

const gemini = {
  type: 'text/event-stream',
  whole(n, asked) {
    const parts = asked.tools
      ? [{ functionCall: { name: 'weather', args: { city: `city ${n}`, days: n } } }]
      : [{ text: `answer ${n}, naïve 😀` }];
    return { candidates: [{ content: { role: 'model', parts }, finishReason: 'STOP', index: 0 }],
      usageMetadata: { promptTokenCount: 5, candidatesTokenCount: 7, totalTokenCount: 12 }, responseId: `r${n}` };
  },
  stream(n, asked) {
    const done = gemini.whole(n, asked);
    const pieces = words(`answer ${n}, naïve 😀, in pieces`).map((text) => ({ ...done,
      candidates: [{ content: { role: 'model', parts: [{ text }] }, index: 0 }] }));
    return [...pieces, { ...done, candidates: [{ content: { role: 'model', parts: [{ text: '' }] },
      finishReason: 'STOP', index: 0 }] }].map((piece) => `data: ${JSON.stringify(piece)}\r\n\r\n`);
  },
};

const geminiEmbeddings = {
  whole(n, asked) {
    return { embeddings: asked.requests.map((_, i) => ({ values: [n / 8, i / 8, 0.5] })) };
  },
};

const ollama = {
  type: 'application/x-ndjson',
  streams: (asked) => asked.stream !== false,
  ended: { done: true, done_reason: 'stop', total_duration: 5, prompt_eval_count: 5, eval_count: 7 },
  said: (asked, text) => (asked.messages ? { message: { role: 'assistant', content: text } } : { response: text }),
  line: (asked, text) => ({ model: asked.model, created_at: '2025-07-01T09:00:00Z', ...ollama.said(asked, text) }),
  whole(n, asked) {
    return { ...ollama.line(asked, `answer ${n}, naïve 😀`), ...ollama.ended };
  },
  stream(n, asked) {
    const pieces = words(`answer ${n}, naïve 😀, in pieces`)
      .map((text) => ({ ...ollama.line(asked, text), done: false }));
    return [...pieces, { ...ollama.line(asked, ''), ...ollama.ended }].map((line) => `${JSON.stringify(line)}\n`);
  },
};

const ollamaEmbeddings = {
  whole(n, asked) {
    return { model: asked.model, embeddings: [asked.input].flat().map((_, i) => [n / 8, i / 8, 0.5]) };
  },
};

const speech = {
  type: 'audio/mpeg',
  streams: () => true,
  stream: (n) => [Buffer.from('ID3\x04\0'), Buffer.from([0xff, 0xfb, n]), Buffer.alloc(4096, n)],
};

// The first that the request's path and query end with.
const operations = [
  ['/v1/chat/completions', chat], ['/v1/embeddings', embeddings], ['/v1/responses', responses],
  ['/v1/messages', messages], ['/v1/moderations', moderations], ['/v1/audio/speech', speech],
  ['/api/chat', ollama], ['/api/generate', ollama], ['/api/embed', ollamaEmbeddings],
  [':generateContent', gemini], [':streamGenerateContent?alt=sse', { ...gemini, streams: () => true }],
  [':batchEmbedContents', geminiEmbeddings],
];

export class Upstream {
  requests = [];
  #scripted = [];
  #sockets = new Set();
  connections = 0;

  /** @tls: { key, cert } to serve HTTP/2 over TLS instead. */
  static async start(tls) {
    const upstream = new Upstream();
    const take = (request, response) => upstream.#take(request, response);
    upstream.server = tls ? http2.createSecureServer({ ...tls, allowHTTP1: true }, take) : http.createServer(take);
    upstream.server.on(tls ? 'secureConnection' : 'connection', (socket) => {
      upstream.connections += 1;
      upstream.#sockets.add(socket);
      socket.on('close', () => upstream.#sockets.delete(socket));
    });
    await new Promise((resolve) => upstream.server.listen(0, '127.0.0.1', resolve));
    upstream.url = `${tls ? 'https' : 'http'}://127.0.0.1:${upstream.server.address().port}`;
    return upstream;
  }

  /** Answers the next request by @handler(request, response, body) instead. */
  once(handler) {
    this.#scripted.push(handler);
  }

  #take(request, response) {
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', () => {
      const body = Buffer.concat(pieces);
      const { method, url, headers, httpVersion } = request;
      this.requests.push({ method, url, headers, httpVersion, body });
      const scripted = this.#scripted.shift();
      if (scripted) scripted(request, response, body);
      else this.#answer(request, response, JSON.parse(body));
    });
  }

  #answer(request, response, asked) {
    const n = this.requests.length;
    const [, operation] = operations.find(([path]) => request.url.endsWith(path)) ?? [];
    response.setHeader('x-request-id', `req_upstream_${n}`);
    response.setHeader('request-id', `req_upstream_${n}`);
    if (!operation) {
      response.writeHead(404, { 'content-type': 'application/json' });
      response.end('{"error":{"message":"no such path","type":"invalid_request_error","code":null}}');
    } else if (operation.streams ? operation.streams(asked) : asked.stream) {
      const type = operation.type ?? 'text/event-stream; charset=utf-8';
      response.writeHead(200, { 'content-type': type, 'cache-control': 'no-cache' });
      for (const part of operation.stream(n, asked)) response.write(part);
      response.end();
    } else {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(operation.whole(n, asked)));
    }
  }

  stop() {
    for (const socket of this.#sockets) socket.destroy();
    return new Promise((resolve) => this.server.close(resolve));
  }
}
