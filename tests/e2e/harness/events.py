"""A listener to GET /api/v1/events: an operator's terminal, or the dashboard."""

import json

from .client import Client
from .operator import token_of


class Listener:
    """Listens from when it is made: the stream's first line has come."""

    def __init__(self, refrain, types=None, after=None, receive_buffer=None):
        self.client = Client(refrain.admin, credential=token_of(refrain))
        query = f"?types={types}" if types else ""
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
        on = self.client.connect(receive_buffer=receive_buffer) if receive_buffer else None
        self.answer = self.client.get("/api/v1/events" + query, headers, on=on)
        self.taken = 0  # bytes of the body
        self.last_id = None
        assert self.answer.status == 200, f"expected a stream: {self.answer!r}"
        self.answer.sees("events of this instance follow\n\n")

    def _frame(self):
        self.answer._until(lambda: self.answer.body.find(b"\n\n", self.taken) >= 0, "an event")
        end = self.answer.body.find(b"\n\n", self.taken)
        frame, self.taken = self.answer.body[self.taken:end].decode(), end + 2
        return dict(line.split(": ", 1) for line in frame.split("\n") if not line.startswith(":"))

    def next(self):
        """The next event; comments are passed over."""
        while not (fields := self._frame()):
            pass
        event = json.loads(fields["data"])
        assert event["type"] == fields["event"]
        if "id" in fields:
            self.last_id = fields["id"]
        return event

    def hears(self, kind, **payload):
        """Reads until an event of this type, whose payload has these members, comes; returns it."""
        while True:
            event = self.next()
            if event["type"] == kind and payload.items() <= event["payload"].items():
                return event

    def close(self):
        self.client.close()
