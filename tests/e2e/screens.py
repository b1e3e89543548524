#!/usr/bin/python3
"""Captures the screens of docs/cli.md anew, from a running instance with some traffic: tests/e2e/screens.py [FILE]."""

import json
import os
import pathlib
import re
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from conftest import Starter  # noqa: E402
from harness.asks import chat  # noqa: E402
from harness.process import TREE, binary  # noqa: E402
from harness.terminal import Terminal  # noqa: E402
from harness.upstream import Upstream  # noqa: E402

PAGE = TREE / "docs" / "cli.md"
SCREEN = re.compile(r"(<!-- screen: (refrain [a-z ]+?) -->\n```\n)(.*?)(```\n)", re.S)
MODELS = ["gpt-4o-mini", "gpt-4o", "o3"]


def traffic(client):
    """Some entries with some hits; returns the id of one."""
    for n in range(12):
        for _ in range(1 + (n * 7) % 5):
            answer = client.post(chat(f"question {n}").but(model=MODELS[n % 3]).with_headers(Refrain_Tags="news"))
            answer.whole()
    return answer.header("refrain-entry")


def screen_of_top(args):
    with Terminal([binary(), *args], rows=24, columns=100) as terminal:
        terminal.shows("requests", "all closed", "gpt-4o-mini")
        text = terminal.text()
        terminal.press("q")
        terminal.exits(0)
        return "$ refrain top\n" + text.rstrip() + "\n"


def screen_of(line, args, rows=60):
    with Terminal([binary(), *args], rows=rows, columns=100) as terminal:
        terminal.process.wait(30)
        terminal.drained()
        return "$ " + line + "\n" + terminal.text().rstrip() + "\n"


def screens(folder):
    upstream = Upstream()
    start = Starter(folder, upstream)
    try:
        refrain = start()
        client = start.client(refrain)
        entry = traffic(client)
        request = folder / "request.json"
        request.write_text(json.dumps({"path": "/v1/chat/completions", "headers": {"Authorization": "Bearer sk-else",
                                       "Content-Type": "application/json"}, "body": chat("question 3").wire_body.decode()}))
        at = ["--admin", "http://%s:%d" % refrain.admin, "--token-file", str(refrain.folder / "state" / "admin.token")]
        return {
            "refrain top": screen_of_top(["top", *at]),
            "refrain stats": screen_of("refrain stats", ["stats", *at]),
            "refrain keys": screen_of("refrain keys --limit 5 --model 'gpt-4o*'", ["keys", "--limit", "5", "--model", "gpt-4o*", *at]),
            "refrain get": screen_of(f"refrain get {entry}", ["get", entry, *at]),
            "refrain invalidate": screen_of("refrain invalidate --tag news --dry-run",
                                            ["invalidate", "--tag", "news", "--dry-run", *at]),
            "refrain explain": screen_of("refrain explain request.json", ["explain", str(request), *at]),
        }
    finally:
        start.stop()
        upstream.close()


def main():
    page = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    with tempfile.TemporaryDirectory() as folder:
        captured = screens(pathlib.Path(folder))
    text = SCREEN.sub(lambda found: found[1] + captured[found[2]] + found[4], page.read_text(encoding="utf-8"))
    page.write_text("\n".join(line.rstrip() for line in text.split("\n")), encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("REFRAIN_BIN", str(TREE / "build" / "refrain"))
    main()
