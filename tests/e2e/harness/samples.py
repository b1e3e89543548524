"""What each API answers, well and in every bad way: whole answers as JSON, streams as lists of frames.

An API's class makes a sample by what is told of it: `text`, how it `ends` (GOOD, LENGTH, FILTERED, REFUSED), the
`arguments` of a tool call. None stands for what the API cannot say.
"""

import json

from .answers import compact, sse_event
from .asks import Ask

GOOD, LENGTH, FILTERED, REFUSED = "good", "length", "filtered", "refused"
TEXT = "The answer is forty-two."


def halves(text):
    return text[: len(text) // 2], text[len(text) // 2:]


def ndjson(value):
    return (compact(value) + "\n").encode()


class Api:
    name = None
    whole_type, stream_type = "application/json", "text/event-stream"
    forms = ("whole", "streamed")
    ends = (GOOD, LENGTH, FILTERED)
    can_call = can_ask_json = False
    can_be_silent = True  # a choice may say nothing at all
    wants = {}  # (form, case): why an answer is not stored, where this API differs from the others

    def ask(self, number, streamed, **more):
        raise NotImplementedError

    def asking_json(self):
        """Members of a request that make it ask for JSON."""
        return {}

    def whole(self, text=TEXT, ends=GOOD, arguments=None):
        raise NotImplementedError

    def no_payload(self):
        raise NotImplementedError

    def error(self):
        return {"error": {"message": "overloaded", "type": "server_error", "code": None}}

    def frames(self, text=TEXT, ends=GOOD, arguments=None):
        raise NotImplementedError

    def no_payload_frames(self):
        raise NotImplementedError

    def error_frame(self, behind):
        """An error as the event that comes behind so many others."""
        return sse_event(self.error())


class Chat(Api):
    name = "chat"
    can_call = can_ask_json = True
    ends = (GOOD, LENGTH, FILTERED, REFUSED)
    words = {GOOD: "stop", LENGTH: "length", FILTERED: "content_filter", REFUSED: "stop"}
    usage = {"prompt_tokens": 11, "completion_tokens": 22, "total_tokens": 33}

    def ask(self, number, streamed, **more):
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"question {number}"}], **more}
        return Ask("/v1/chat/completions", {**body, "stream": True} if streamed else body)

    def asking_json(self):
        return {"response_format": {"type": "json_object"}}

    def _whole(self, choices):
        return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1751360400, "model": "gpt-4o-mini",
                "choices": choices, "usage": self.usage}

    def whole(self, text=TEXT, ends=GOOD, arguments=None):
        message = {"role": "assistant", "content": text, "refusal": None}
        finish = self.words[ends]
        if ends == REFUSED:
            message.update(content=None, refusal="I cannot help with that.")
        if arguments is not None:
            call = {"name": "weather", "arguments": arguments}
            message.update(content=None, tool_calls=[{"id": "call_1", "type": "function", "function": call}])
            finish = "tool_calls"
        return self._whole([{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}])

    def no_payload(self):
        return self._whole([])

    def _frame(self, delta, finish=None, index=0):
        return sse_event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1751360400,
                          "model": "gpt-4o-mini",
                          "choices": [{"index": index, "delta": delta, "finish_reason": finish}]})

    def frames(self, text=TEXT, ends=GOOD, arguments=None):
        begin = [self._frame({"role": "assistant", "content": ""})]
        said = [self._frame({"content": part}) for part in halves(text) if part]
        finish = self.words[ends]
        if ends == REFUSED:
            said = [self._frame({"refusal": "I cannot help with that."})]
        if arguments is not None:
            head = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
            said = [self._frame({"tool_calls": [head]})]
            said += [self._frame({"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
                     for part in halves(arguments)]
            finish = "tool_calls"
        return [*begin, *said, self._frame({}, finish), sse_event("[DONE]")]

    def no_payload_frames(self):
        return [sse_event("[DONE]")]


class Completion(Api):
    name = "completion"
    words = {GOOD: "stop", LENGTH: "length", FILTERED: "content_filter"}

    def ask(self, number, streamed, **more):
        body = {"model": "gpt-3.5-turbo-instruct", "prompt": f"question {number}", **more}
        return Ask("/v1/completions", {**body, "stream": True} if streamed else body)

    def _whole(self, choices):
        return {"id": "cmpl-1", "object": "text_completion", "created": 1751360400, "model": "gpt-3.5-turbo-instruct",
                "choices": choices, "usage": Chat.usage}

    def whole(self, text=TEXT, ends=GOOD, arguments=None):
        return self._whole([{"index": 0, "text": text, "logprobs": None, "finish_reason": self.words[ends]}])

    def no_payload(self):
        return self._whole([])

    def frames(self, text=TEXT, ends=GOOD, arguments=None):
        said = [self._whole([{"index": 0, "text": part, "finish_reason": None}]) for part in halves(text)]
        end = self._whole([{"index": 0, "text": "", "finish_reason": self.words[ends]}])
        return [*map(sse_event, said), sse_event(end), sse_event("[DONE]")]

    def no_payload_frames(self):
        return [sse_event("[DONE]")]


class Responses(Api):
    name = "responses"
    can_call = can_ask_json = True
    ends = (GOOD, LENGTH, FILTERED, REFUSED)
    reasons = {LENGTH: "max_output_tokens", FILTERED: "content_filter"}

    def ask(self, number, streamed, **more):
        body = {"model": "gpt-4o-mini", "input": f"question {number}", **more}
        return Ask("/v1/responses", {**body, "stream": True} if streamed else body)

    def asking_json(self):
        return {"text": {"format": {"type": "json_object"}}}

    def _whole(self, output, status="completed", details=None, error=None):
        return {"id": "resp_1", "object": "response", "created_at": 1751360400, "status": status,
                "model": "gpt-4o-mini", "error": error, "incomplete_details": details, "output": output,
                "usage": {"input_tokens": 11, "output_tokens": 22, "total_tokens": 33}}

    def whole(self, text=TEXT, ends=GOOD, arguments=None):
        part = {"type": "output_text", "text": text, "annotations": []}
        if ends == REFUSED:
            part = {"type": "refusal", "refusal": "I cannot help with that."}
        output = [{"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [part]}]
        if arguments is not None:
            output = [{"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather",
                       "arguments": arguments, "status": "completed"}]
        if ends in self.reasons:
            return self._whole(output, "incomplete", {"reason": self.reasons[ends]})
        return self._whole(output)

    def no_payload(self):
        return self._whole([])

    def error(self):
        return self._whole([], "failed", None, {"code": "server_error", "message": "overloaded"})

    @staticmethod
    def _frame(kind, **members):
        return sse_event({"type": kind, "sequence_number": 1, **members}, kind)

    def frames(self, text=TEXT, ends=GOOD, arguments=None):
        done = self.whole(text, ends, arguments)
        kind, pieces, member = "response.output_text", halves(text), "text"
        at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        if ends == REFUSED:
            kind, pieces, member = "response.refusal", ["I cannot ", "help with that."], "refusal"
        if arguments is not None:
            kind, pieces, member = "response.function_call_arguments", halves(arguments), "arguments"
            at = {"item_id": "fc_1", "output_index": 0}
        begun = self._whole([], "in_progress")
        item = {**done["output"][0], "status": "in_progress"}
        item.update({"arguments": ""} if arguments is not None else {"content": []})
        last = "response.incomplete" if ends in self.reasons else "response.completed"
        return [self._frame("response.created", response=begun),
                self._frame("response.output_item.added", output_index=0, item=item),
                *[self._frame(kind + ".delta", delta=piece, **at) for piece in pieces if piece],
                self._frame(kind + ".done", **at, **{member: "".join(pieces)}),
                self._frame("response.output_item.done", output_index=0, item=done["output"][0]),
                self._frame(last, response=done)]

    def no_payload_frames(self):
        return [self._frame("response.created", response=self._whole([], "in_progress")),
                self._frame("response.completed", response=self._whole([]))]

    def error_frame(self, behind):
        return self._frame("response.failed", response=self.error())


class Messages(Api):
    name = "messages"
    can_call = can_ask_json = True
    ends = (GOOD, LENGTH, REFUSED)
    words = {GOOD: "end_turn", LENGTH: "max_tokens", REFUSED: "refusal"}

    def ask(self, number, streamed, **more):
        body = {"model": "claude-sonnet-4-5", "max_tokens": 64,
                "messages": [{"role": "user", "content": f"question {number}"}], **more}
        return Ask("/v1/messages", {**body, "stream": True} if streamed else body,
                   {"x-api-key": "sk-ant-alice", "Authorization": None, "anthropic-version": "2023-06-01"})

    def asking_json(self):
        return {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}

    def _whole(self, content, stop):
        return {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
                "content": content, "stop_reason": stop, "stop_sequence": None,
                "usage": {"input_tokens": 11, "output_tokens": 22}}

    def whole(self, text=TEXT, ends=GOOD, arguments=None):
        content, stop = [{"type": "text", "text": text}], self.words[ends]
        if arguments is not None:
            try:
                value = json.loads(arguments)
            except ValueError:
                return None  # here arguments are a value, not a text
            content, stop = [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": value}], "tool_use"
        return self._whole(content, stop)

    def no_payload(self):
        return self._whole([], "end_turn")

    def error(self):
        return {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}

    @staticmethod
    def _frame(kind, **members):
        return sse_event({"type": kind, **members}, kind)

    def _around(self, blocks, stop):
        begun = {**self._whole([], None), "usage": {"input_tokens": 11, "output_tokens": 1}}
        return [self._frame("message_start", message=begun), *blocks,
                self._frame("message_delta", delta={"stop_reason": stop, "stop_sequence": None},
                            usage={"output_tokens": 22}),
                self._frame("message_stop")]

    def frames(self, text=TEXT, ends=GOOD, arguments=None):
        block, stop = {"type": "text", "text": ""}, self.words[ends]
        deltas = [{"type": "text_delta", "text": piece} for piece in halves(text) if piece]
        if arguments is not None:
            block, stop = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}, "tool_use"
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *halves(arguments))]
        return self._around([self._frame("content_block_start", index=0, content_block=block), self._frame("ping"),
                             *[self._frame("content_block_delta", index=0, delta=delta) for delta in deltas],
                             self._frame("content_block_stop", index=0)], stop)

    def no_payload_frames(self):
        return self._around([], "end_turn")

    def error_frame(self, behind):
        return sse_event(self.error(), "error")


class Embedding(Api):
    name = "embedding"
    forms = ("whole",)
    can_be_silent = False
    ends = (GOOD,)

    def ask(self, number, streamed, **more):
        return Ask("/v1/embeddings", {"model": "text-embedding-3-small", "input": f"question {number}", **more})

    def _whole(self, data):
        return {"object": "list", "data": data, "model": "text-embedding-3-small",
                "usage": {"prompt_tokens": 11, "total_tokens": 11}}

    def whole(self, text=TEXT, ends=GOOD, arguments=None):
        return self._whole([{"object": "embedding", "index": 0, "embedding": [0.25, -0.5, 0.125]}])

    def no_payload(self):
        return self._whole([])


class Generate(Api):
    """Gemini, whose streams are events with `?alt=sse`."""

    name = "generate"
    can_ask_json = True
    ends = (GOOD, LENGTH, FILTERED, REFUSED)
    words = {GOOD: "STOP", LENGTH: "MAX_TOKENS", FILTERED: "SAFETY"}
    headers = {"x-goog-api-key": "AIza-alice", "Authorization": None}
    query = "?alt=sse"
    wants = {("streamed", "no payload"): "incomplete"}  # without a candidate there is no end either

    def ask(self, number, streamed, **more):
        verb = "streamGenerateContent" + self.query if streamed else "generateContent"
        return Ask(f"/v1beta/models/gemini-2.5-flash:{verb}",
                   {"contents": [{"role": "user", "parts": [{"text": f"question {number}"}]}], **more}, self.headers)

    def asking_json(self):
        return {"generationConfig": {"responseMimeType": "application/json"}}

    @staticmethod
    def _answer(text, finish=None):
        content = {} if finish == "SAFETY" else {"content": {"role": "model", "parts": [{"text": text}]}}
        candidate = {**content, "index": 0}
        return {"candidates": [candidate | ({"finishReason": finish} if finish else {})],
                "usageMetadata": {"promptTokenCount": 11, "candidatesTokenCount": 22, "totalTokenCount": 33},
                "modelVersion": "gemini-2.5-flash", "responseId": "r1"}

    def whole(self, text=TEXT, ends=GOOD, arguments=None):
        if ends == REFUSED:  # of the prompt
            return {**self.no_payload(), "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
        return self._answer(text, self.words[ends])

    def no_payload(self):
        return {"usageMetadata": {"promptTokenCount": 11}, "modelVersion": "gemini-2.5-flash"}

    def error(self):
        return {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}

    def pieces(self, text, ends):
        if ends == REFUSED:
            return [self.whole(ends=ends)]
        return [*[self._answer(part) for part in halves(text) if part], self._answer("", self.words[ends])]

    def frames(self, text=TEXT, ends=GOOD, arguments=None):
        return [sse_event(piece) for piece in self.pieces(text, ends)]

    def no_payload_frames(self):
        return [sse_event(self.no_payload())]


class GenerateArray(Generate):
    """The same without `?alt=sse`: a JSON array that grows."""

    name, stream_type, query = "generate []", "application/json", ""

    @staticmethod
    def _framed(pieces):
        return [*[("," if n else "[").encode() + compact(piece).encode() for n, piece in enumerate(pieces)], b"]"]

    def frames(self, text=TEXT, ends=GOOD, arguments=None):
        return self._framed(self.pieces(text, ends))

    def no_payload_frames(self):
        return self._framed([self.no_payload()])

    def error_frame(self, behind):
        return self._framed([self.error()])[0].replace(b"[", b"," if behind else b"[", 1)


class Ollama(Api):
    name = "ollama"
    stream_type = "application/x-ndjson"
    ends = (GOOD, LENGTH)
    can_ask_json = True
    words = {GOOD: "stop", LENGTH: "length"}
    path, headers = "/api/chat", {"Authorization": None}

    def ask(self, number, streamed, **more):
        body = {"model": "llama3.2", **self._prompt(f"question {number}"), **more}
        return Ask(self.path, body if streamed else {**body, "stream": False}, self.headers)

    def asking_json(self):
        return {"format": "json"}

    @staticmethod
    def _prompt(text):
        return {"messages": [{"role": "user", "content": text}]}

    @staticmethod
    def _said(text):
        return {"message": {"role": "assistant", "content": text}}

    def _answer(self, text, finish=None):
        answer = {"model": "llama3.2", "created_at": "2025-07-01T09:00:00Z", **self._said(text), "done": bool(finish)}
        if not finish:
            return answer
        return {**answer, "done_reason": finish, "total_duration": 5, "prompt_eval_count": 11, "eval_count": 22}

    def whole(self, text=TEXT, ends=GOOD, arguments=None):
        return self._answer(text, self.words[ends])

    def no_payload(self):
        return {"model": "llama3.2", "created_at": "2025-07-01T09:00:00Z", "done": True}

    def error(self):
        return {"error": "model runner has unexpectedly stopped"}

    def frames(self, text=TEXT, ends=GOOD, arguments=None):
        said = [self._answer(part) for part in halves(text) if part]
        return [ndjson(line) for line in [*said, self._answer("", self.words[ends])]]

    def no_payload_frames(self):
        return [ndjson(self.no_payload())]

    def error_frame(self, behind):
        return ndjson(self.error())


class OllamaGenerate(Ollama):
    name, path = "ollama gen.", "/api/generate"

    @staticmethod
    def _prompt(text):
        return {"prompt": text}

    @staticmethod
    def _said(text):
        return {"response": text}


class Plain(Api):
    """What streams never and is good or not: `good`, and the same with nothing in it."""

    forms = ("whole",)
    can_be_silent = False
    ends = (GOOD,)
    path, headers, good, empty = None, {}, None, None

    def _body(self, number):
        raise NotImplementedError

    def ask(self, number, streamed, **more):
        return Ask(self.path, {**self._body(number), **more}, self.headers)

    def whole(self, text=TEXT, ends=GOOD, arguments=None):
        return self.good

    def no_payload(self):
        return self.empty


class EmbedContent(Plain):
    name, path = "embed gem.", "/v1beta/models/gemini-embedding-001:embedContent"
    headers = Generate.headers
    good, empty = {"embedding": {"values": [0.25, -0.5]}}, {"embedding": {"values": []}}

    def _body(self, number):
        return {"content": {"parts": [{"text": f"question {number}"}]}}


class BatchEmbedContents(EmbedContent):
    name, path = "embed gem. n", "/v1beta/models/gemini-embedding-001:batchEmbedContents"
    good = {"embeddings": [{"values": [0.25, -0.5]}, {"values": [1]}]}
    empty = {"embeddings": [{"values": [0.25, -0.5]}, {}]}

    def _body(self, number):
        return {"requests": [{"model": "models/gemini-embedding-001",
                              "content": {"parts": [{"text": f"question {number}"}]}}]}


class OllamaEmbed(Plain):
    name, path, headers = "embed oll.", "/api/embed", Ollama.headers
    good, empty = {"model": "m", "embeddings": [[0.25], [1]]}, {"model": "m", "embeddings": [[0.25], []]}

    def _body(self, number):
        return {"model": "all-minilm", "input": [f"question {number}", "another"]}


class OllamaEmbeddings(Plain):
    name, path, headers = "embed oll. 1", "/api/embeddings", Ollama.headers
    good, empty = {"embedding": [0.25, 1]}, {"embedding": []}

    def _body(self, number):
        return {"model": "all-minilm", "prompt": f"question {number}"}


class Moderation(Plain):
    name, path = "moderation", "/v1/moderations"
    good = {"id": "modr-1", "model": "omni-moderation-latest",
            "results": [{"flagged": False, "categories": {"hate": False}, "category_scores": {"hate": 1e-5}}]}
    empty = {"id": "modr-1", "model": "omni-moderation-latest", "results": []}

    def _body(self, number):
        return {"model": "omni-moderation-latest", "input": f"question {number}"}


class Rerank(Plain):
    name, path = "rerank", "/v2/rerank"
    good, empty = {"id": "r1", "results": [{"index": 0, "relevance_score": 0.9}]}, {"id": "r1", "meta": {}}

    def _body(self, number):
        return {"model": "rerank-v3.5", "query": f"question {number}", "documents": ["a", "b"]}


class Own(Plain):
    """An operation of the operator's own, of which no more is known than that it is JSON."""

    name, path = "own", "/own/thing"
    good, empty = {"whatever": 1}, {}
    wants = {("whole", "no payload"): "stored", ("whole", "no object"): "stored"}

    def _body(self, number):
        return {"question": number}


class OwnChat(Chat):
    """An operation of the operator's own that is like chat."""

    name = "own chat"

    def ask(self, number, streamed, **more):
        return super().ask(number, streamed, **more).at("/own/talk")


class Speech(Api):
    """Sound, which has no end of its own: all that can be known is whether the message came whole."""

    name, stream_type = "speech", "audio/mpeg"
    forms = ("sound",)
    more = {}

    def ask(self, number, streamed, **more):
        return Ask("/v1/audio/speech", {"model": "tts-1", "voice": "alloy", "input": f"question {number}", **self.more,
                                        **more})

    def frames(self, text=TEXT, ends=GOOD, arguments=None):
        return [b"ID3" + bytes(range(256)), bytes(range(255, -1, -1))]


class SpeechEvents(Speech):
    name, stream_type = "speech events", "text/event-stream"
    forms = ("streamed",)
    ends = (GOOD,)
    can_be_silent = False
    more = {"stream_format": "sse"}

    def frames(self, text=TEXT, ends=GOOD, arguments=None):
        done = {"type": "speech.audio.done", "usage": {"input_tokens": 11, "output_tokens": 22, "total_tokens": 33}}
        return [sse_event({"type": "speech.audio.delta", "audio": "SUQz"}),
                sse_event({"type": "speech.audio.delta", "audio": "AAEC"}), sse_event(done)]

    def no_payload_frames(self):
        return self.frames()[2:]


APIS = [Chat(), Completion(), Responses(), Messages(), Generate(), GenerateArray(), Ollama(), OllamaGenerate(),
        Embedding(), EmbedContent(), BatchEmbedContents(), OllamaEmbed(), OllamaEmbeddings(), Moderation(), Rerank(),
        Speech(), SpeechEvents(), Own(), OwnChat()]
OWN_OPERATIONS = {"thing": {"path": Own.path}, "talk": {"path": "/own/talk", "dialect": "chat"}}
