"""An operator at the admin listener: asks the API with the token that the instance made for itself, or another."""

import json

from .client import Client


def token_of(refrain):
    return (refrain.folder / "state" / "admin.token").read_text()


class Operator:
    def __init__(self, refrain, token=None):
        self.client = Client(refrain.admin, credential=token_of(refrain) if token is None else token)

    def get(self, path, headers=None, **kwargs):
        return self.client.get("/api/v1" + path, headers, **kwargs)

    def post(self, path, body, headers=None, **kwargs):
        return self.client.ask("POST", "/api/v1" + path, headers, body, **kwargs)

    def reads(self, path):
        """What a GET of this path tells."""
        with self.client.connect() as connection:  # given back: who waits looks often
            answer = self.get(path, on=connection).whole()
        assert answer.status == 200, f"expected 200 from {path}: {answer!r}"
        return json.loads(answer.body)

    def does(self, path, body):
        """What a POST to this path answers."""
        with self.client.connect() as connection:
            answer = self.post(path, body, on=connection).whole()
        assert answer.status == 200, f"expected 200 from {path}: {answer!r}"
        return json.loads(answer.body)

    def close(self):
        self.client.close()
