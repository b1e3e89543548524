"""Requests as an SDK would make them. `chat("hi").but(model="other")` is the same request with one thing changed."""

import dataclasses
import json


@dataclasses.dataclass(frozen=True)
class Ask:
    path: str
    body: dict
    headers: dict = dataclasses.field(default_factory=dict)
    raw: bytes = None  # sent instead of the body's JSON

    def but(self, **changes):
        """With these members set; None takes a member out."""
        body = {**self.body, **changes}
        return dataclasses.replace(self, body={k: v for (k, v) in body.items() if v is not None}, raw=None)

    def at(self, path):
        return dataclasses.replace(self, path=path)

    def written(self, raw):
        """The same request with its body written this way."""
        return dataclasses.replace(self, raw=raw.encode() if isinstance(raw, str) else raw)

    def with_headers(self, **headers):
        named = {name.replace("_", "-"): value for (name, value) in headers.items()}
        return dataclasses.replace(self, headers={**self.headers, **named})

    @property
    def wire_body(self):
        return json.dumps(self.body).encode() if self.raw is None else self.raw


def chat(prompt="hello", **more):
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}], **more}
    return Ask("/v1/chat/completions", body)


def chat_stream(prompt="hello", **more):
    return chat(prompt, stream=True, **more)


def completion(prompt="hello", **more):
    return Ask("/v1/completions", {"model": "gpt-3.5-turbo-instruct", "prompt": prompt, **more})


def embedding(text="hello", **more):
    return Ask("/v1/embeddings", {"model": "text-embedding-3-small", "input": text, **more})


def responses(text="hello", **more):
    return Ask("/v1/responses", {"model": "gpt-4o-mini", "input": text, **more})


def messages(prompt="hello", **more):
    body = {"model": "claude-sonnet-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": prompt}], **more}
    return Ask("/v1/messages", body, {"x-api-key": "sk-ant-alice", "Authorization": None,
                                      "anthropic-version": "2023-06-01"})


TOOLS = [{"type": "function", "function": {
    "name": "weather", "description": "Weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]
