#!/usr/bin/env python3
"""Makes the pictures of docs/dashboard.md: runs Refrain under mixed traffic against a scripted upstream, then takes the
overview as a browser shows it, at 1280 and 360 px, light and dark.

  tests/dashboard/pictures.py [--minutes 10] [--into docs/images]

Wants what the tests want (deploy/packages-test.txt) and build/refrain, or the binary that REFRAIN_BIN names.
"""

import argparse
import bisect
import http.server
import itertools
import json
import pathlib
import random
import sys
import tempfile
import threading
import time

TREE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TREE / "tests" / "e2e"))

from harness.asks import Ask  # noqa: E402
from harness.browser import Browser  # noqa: E402
from harness.client import Client  # noqa: E402
from harness.process import Refrain  # noqa: E402
from harness.redis import RedisServer  # noqa: E402

PROMPTS = 160  # different questions; few are asked often, most hardly ever
CONNECTIONS = 12
PAUSE_S = 0.35  # of each, on average, between two requests

# (weight, path, model, seconds that upstream takes, tags)
KINDS = (
    (42, "/v1/chat/completions", "gpt-4o-mini", 0.35, "support,faq"),
    (16, "/v1/chat/completions", "gpt-4o", 0.7, "support"),
    (18, "/anthropic/v1/messages", "claude-sonnet-4-5", 0.8, "docs"),
    (16, "/v1/embeddings", "text-embedding-3-small", 0.08, "search"),
    (8, "/v1/chat/completions", "llama-3.3-70b-instruct", 0.5, None),
)
NAMESPACES = (None, None, None, "team-search", "team-support")


def upstream_answer(path, asked, number):
    """As each API would answer, with usage that fits the sizes."""
    tokens_in = 220 + len(json.dumps(asked)) // 4
    tokens_out = 120 + number * 7919 % 700
    text = "All of it is made up. " * (tokens_out // 6)
    if path.endswith("/embeddings"):
        return {"object": "list", "model": asked["model"], "usage": {"prompt_tokens": tokens_in, "total_tokens": tokens_in},
                "data": [{"object": "embedding", "index": 0, "embedding": [i / 997 for i in range(384)]}]}
    if path.endswith("/messages"):
        return {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": asked["model"],
                "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": None,
                "usage": {"input_tokens": tokens_in, "output_tokens": tokens_out}}
    return {"id": f"chatcmpl-{number}", "object": "chat.completion", "created": 1751360400, "model": asked["model"],
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}}


class Upstream(http.server.BaseHTTPRequestHandler):
    """Takes as long as a model takes, and now and then fails."""

    protocol_version = "HTTP/1.1"
    numbers = itertools.count(1)

    def do_POST(self):
        number, chance = next(self.numbers), random.Random()
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        usual = next(s for (_, _, model, s, _) in KINDS if model == asked["model"])
        time.sleep(usual * chance.lognormvariate(0, 0.4))
        failed = chance.random() < 0.012
        body = json.dumps({"error": {"message": "overloaded", "type": "server_error"}} if failed
                          else upstream_answer(self.path, asked, number)).encode()
        self.send_response(503 if failed else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Traffic:
    """Clients that ask what others have asked before, mostly."""

    def __init__(self, address, seconds):
        self.address, self.end, self.began = address, time.monotonic() + seconds, time.monotonic()
        self.seconds = seconds
        self.shares = list(itertools.accumulate(1 / (rank + 3) ** 0.95 for rank in range(PROMPTS)))
        self.asked = self.faults = 0
        self.threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(CONNECTIONS)]

    def ask(self, chance):
        _, path, model, _, tags = chance.choices(KINDS, [kind[0] for kind in KINDS])[0]
        prompt = bisect.bisect(self.shares, chance.random() * self.shares[-1])
        question = f"Question {prompt}: " + "what is it that one would ask here? " * (2 + prompt % 9)
        body = {"model": model, "input": question} if path.endswith("embeddings") else {
            "model": model, "max_tokens": 1024, "messages": [{"role": "user", "content": question}]}
        headers = {"anthropic-version": "2023-06-01"} if "anthropic" in path else {}
        if tags:
            headers["Refrain-Tags"] = tags
        namespace = chance.choice(NAMESPACES)
        if namespace:
            headers["Refrain-Namespace"] = namespace
        if chance.random() < 0.03:
            headers["Cache-Control"] = "no-store"
        return Ask(path, body, headers)

    def _run(self, number):
        chance, client = random.Random(number), Client(self.address)
        connection = client.connect()
        while time.monotonic() < self.end:
            wave = 1 + 0.5 * ((time.monotonic() - self.began) / self.seconds * 3 % 1)  # it comes in waves
            time.sleep(chance.expovariate(wave / PAUSE_S))
            self.asked += 1
            try:
                client.post(self.ask(chance), on=connection).whole()
            except (AssertionError, OSError):
                self.faults += 1
                connection.close()
                connection = client.connect()
        client.close()

    def run(self):
        for thread in self.threads:
            thread.start()
        for thread in self.threads:
            thread.join()


def configuration(folder, upstream_url, redis_url):
    return {
        "listen": {"address": "127.0.0.1:0", "workers": 2},
        "admin": {"address": "127.0.0.1:0"},
        "upstreams": {"openai": {"url": upstream_url}, "anthropic": {"url": upstream_url}},
        "routes": [{"path": "/anthropic/", "upstream": "anthropic", "strip_prefix": True}, {"path": "/", "upstream": "openai"}],
        "cache": {"state_dir": str(folder / "state"), "default_ttl": "10m", "stale_if_error": "1d"},
        "tiers": {"memory": {"max_bytes": "6MiB"}, "disk": {"path": str(folder / "cache.db"), "max_bytes": "1GiB"},
                  "redis": {"url": redis_url}},
        "pricing_file": str(next((TREE / "config").glob("pricing-*.yaml"))),
        "log": {"requests": False},
    }


def take(refrain, into):
    browser = Browser()
    try:
        browser.signs_in(refrain)
        browser.sees("#popular", "gpt-4o-mini")
        browser.sees("#models", "gpt-4o-mini")
        for width in (1280, 360):
            for mode in ("light", "dark"):
                file = into / f"dashboard-{width}-{mode}.png"
                browser.screenshot(file, width, mode == "dark")
                print(f"{file}: {file.stat().st_size} bytes")
        browser.behaved()
    finally:
        browser.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--into", type=pathlib.Path, default=TREE / "docs" / "images")
    args = parser.parse_args()
    args.into.mkdir(parents=True, exist_ok=True)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    redis = RedisServer()
    with tempfile.TemporaryDirectory(prefix="refrain-pictures-") as folder:
        folder = pathlib.Path(folder)
        refrain = Refrain(folder, configuration(folder, f"http://127.0.0.1:{server.server_port}", redis.url)).listening()
        try:
            traffic = Traffic(refrain.proxy, args.minutes * 60)
            traffic.run()
            print(f"{traffic.asked} requests, {traffic.faults} faults")
            take(refrain, args.into)
        finally:
            refrain.stop()
            redis.close()
            server.shutdown()


if __name__ == "__main__":
    main()
