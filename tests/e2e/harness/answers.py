"""What each API answers when nothing is scripted: the right shape, and contents that tell which request, from whom and
the how-manieth, so that no two upstream answers are alike and a test sees where its bytes came from."""

import base64
import hashlib
import json
import struct


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def sse_event(value, name=None):
    data = value if isinstance(value, str) else compact(value)
    return (f"event: {name}\n" if name else "").encode() + f"data: {data}\n\n".encode()


def answer(request):
    """(status, content type, body pieces, streamed) for a request that has come whole."""
    operation = operation_of(request)
    asked = asked_of(request)
    if operation is None or asked is None:
        text = f"{request.method} {request.target} answer {request.number} body {digest(request.body)}\n"
        return 200, "text/plain", [text.encode()], False
    if asked.get("stream"):
        return 200, "text/event-stream; charset=utf-8", STREAMS[operation](request, asked), True
    return 200, "application/json", [json.dumps(WHOLES[operation](request, asked)).encode()], False


DONE = sse_event("[DONE]")


def stream_end(request):
    """The events that end a stream of this request's API."""
    operation = operation_of(request)
    if operation == "messages":
        return [sse_event({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                           "usage": {"output_tokens": 3}}, "message_delta"),
                sse_event({"type": "message_stop"}, "message_stop")]
    if operation == "responses":
        done = WHOLES[operation](request, asked_of(request) or {})
        return [sse_event({"type": "response.completed", "sequence_number": 99, "response": done},
                          "response.completed")]
    piece = {"text": ""} if operation == "completion" else {"delta": {}}
    return [sse_event({"choices": [{"index": 0, **piece, "finish_reason": "stop"}]}), DONE]


def operation_of(request):
    path = request.target.partition("?")[0]
    if request.method != "POST":
        return None
    for ending, name in (("/chat/completions", "chat"), ("/completions", "completion"), ("/embeddings", "embedding"),
                         ("/responses", "responses"), ("/messages", "messages")):
        if path.endswith(ending):
            return name
    return None


def asked_of(request):
    try:
        asked = json.loads(request.body)
    except ValueError:
        return None
    return asked if isinstance(asked, dict) else None


def digest(data):
    return hashlib.sha256(data).hexdigest()[:12]


def said(request):
    caller = request.header("authorization") or request.header("x-api-key") or ""
    return f"answer {request.number} to {digest(request.body)} for {digest(caller.encode())} at {request.target}"


def tokens(text):
    return [word + " " for word in text.split(" ")]


USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}


def chat(request, asked):
    message = {"role": "assistant", "content": said(request), "refusal": None}
    finish = "stop"
    if asked.get("tools"):
        call = {"name": asked["tools"][0]["function"]["name"], "arguments": compact({"city": said(request)})}
        message = {"role": "assistant", "content": None,
                   "tool_calls": [{"id": f"call_{request.number}", "type": "function", "function": call}]}
        finish = "tool_calls"
    elif asked.get("response_format"):
        message["content"] = compact({"said": said(request)})
    choices = [{"index": i, "message": message, "logprobs": None, "finish_reason": finish}
               for i in range(asked.get("n") or 1)]
    return {"id": f"chatcmpl-{request.number}", "object": "chat.completion", "created": 1751360400,
            "model": asked.get("model"), "choices": choices, "usage": USAGE}


def chat_stream(request, asked):
    def part(delta, finish=None):
        return sse_event({"id": f"chatcmpl-{request.number}", "object": "chat.completion.chunk", "created": 1751360400,
                          "model": asked.get("model"),
                          "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
    pieces = [part({"role": "assistant", "content": ""})]
    pieces += [part({"content": token}) for token in tokens(said(request))] + [part({}, "stop")]
    if (asked.get("stream_options") or {}).get("include_usage"):
        pieces.append(sse_event({"id": f"chatcmpl-{request.number}", "object": "chat.completion.chunk",
                                 "created": 1751360400, "model": asked.get("model"), "choices": [], "usage": USAGE}))
    return [*pieces, DONE]


def completion(request, asked):
    return {"id": f"cmpl-{request.number}", "object": "text_completion", "created": 1751360400,
            "model": asked.get("model"), "usage": USAGE,
            "choices": [{"index": 0, "text": said(request), "logprobs": None, "finish_reason": "stop"}]}


def completion_stream(request, asked):
    pieces = [sse_event({"id": f"cmpl-{request.number}", "object": "text_completion", "created": 1751360400,
                         "model": asked.get("model"),
                         "choices": [{"index": 0, "text": token, "finish_reason": None}]})
              for token in tokens(said(request))]
    return pieces + stream_end(request)


def embedding(request, asked):
    inputs = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
    data = []
    for index, text in enumerate(inputs):
        vector = [byte / 256 for byte in hashlib.sha256(f"{text}{request.number}".encode()).digest()[:8]]
        if asked.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    return {"object": "list", "data": data, "model": asked.get("model"),
            "usage": {"prompt_tokens": 5, "total_tokens": 5}}


def responses(request, asked):
    text = {"type": "output_text", "text": said(request), "annotations": []}
    return {"id": f"resp_{request.number}", "object": "response", "created_at": 1751360400, "status": "completed",
            "model": asked.get("model"), "error": None, "incomplete_details": None,
            "output": [{"type": "message", "id": f"msg_{request.number}", "status": "completed", "role": "assistant",
                        "content": [text]}],
            "usage": {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}}


def responses_stream(request, asked):
    begun = {**responses(request, asked), "status": "in_progress", "output": []}
    pieces = [sse_event({"type": "response.created", "sequence_number": 0, "response": begun}, "response.created")]
    for number, token in enumerate(tokens(said(request)), 1):
        pieces.append(sse_event({"type": "response.output_text.delta", "sequence_number": number, "output_index": 0,
                                 "content_index": 0, "item_id": f"msg_{request.number}", "delta": token},
                                "response.output_text.delta"))
    return pieces + stream_end(request)


def messages(request, asked):
    return {"id": f"msg_{request.number}", "type": "message", "role": "assistant", "model": asked.get("model"),
            "content": [{"type": "text", "text": said(request)}], "stop_reason": "end_turn", "stop_sequence": None,
            "usage": {"input_tokens": 5, "output_tokens": 7}}


def messages_stream(request, asked):
    begun = {**messages(request, asked), "content": [], "stop_reason": None}
    pieces = [sse_event({"type": "message_start", "message": begun}, "message_start"),
              sse_event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                        "content_block_start"),
              sse_event({"type": "ping"}, "ping")]
    pieces += [sse_event({"type": "content_block_delta", "index": 0,
                          "delta": {"type": "text_delta", "text": token}}, "content_block_delta")
               for token in tokens(said(request))]
    pieces.append(sse_event({"type": "content_block_stop", "index": 0}, "content_block_stop"))
    return pieces + stream_end(request)


WHOLES = {"chat": chat, "completion": completion, "embedding": embedding, "responses": responses, "messages": messages}
STREAMS = {"chat": chat_stream, "completion": completion_stream, "responses": responses_stream,
           "messages": messages_stream}
