"""The binary under test: started with a configuration of the test's own, watched through its log and its metrics,
stopped with SIGTERM, and held to a clean exit."""

import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import threading
import time

from .client import PATIENCE_S, Client

TREE = pathlib.Path(__file__).resolve().parents[3]
REPORT = re.compile(r"ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:|Assertion .* failed")


def binary():
    return os.environ.get("REFRAIN_BIN", str(TREE / "build" / "refrain"))


def to_yaml(value, indent=0):
    """Plain values as block YAML; strings in JSON's quotes, which YAML reads alike."""
    pad = "  " * indent
    if isinstance(value, dict) and value:
        return "".join(f"{pad}{json.dumps(key)}:{nested_yaml(item, indent)}" for (key, item) in value.items())
    if isinstance(value, list) and value:
        return "".join(f"{pad}- {json.dumps(item)}\n" for item in value)
    return f"{pad}{json.dumps(value)}\n"


def nested_yaml(item, indent):
    if isinstance(item, (dict, list)) and item:
        return "\n" + to_yaml(item, indent + 1)
    return f" {json.dumps(item)}\n"


def merged(base, over):
    """@over laid on @base, group by group; None takes a member out."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    out = dict(base)
    for key, value in over.items():
        out[key] = merged(base.get(key), value)
    return {key: value for (key, value) in out.items() if value is not None}


def wait_until(ready, what):
    """Polls @ready, which looks at something that cannot tell of itself, until it is true."""
    tick, deadline = threading.Event(), time.monotonic() + PATIENCE_S
    while not (value := ready()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited too long for {what}")
        tick.wait(0.01)
    return value


class Refrain:
    def __init__(self, folder, config, args=(), environment=None):
        self.folder = folder
        self.config = config
        self.config_file = folder / "refrain.yaml"
        self.write_config(config)
        self.lines, self.events = [], []  # of the log: as written, and those that are JSON
        self.condition = threading.Condition()
        self.unread = 2  # streams of the log that have not ended; what an instance says last comes behind its end
        self.process = subprocess.Popen(
            [binary(), "serve", "--config", str(self.config_file), *args], cwd=folder,
            env={**os.environ, "ASAN_OPTIONS": "abort_on_error=0:detect_leaks=1", **(environment or {})},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.pumps = [threading.Thread(target=self._pump, args=(stream,), daemon=True)
                      for stream in (self.process.stdout, self.process.stderr)]
        for pump in self.pumps:
            pump.start()

    def write_config(self, config):
        self.config_file.write_text(to_yaml(config))

    def _pump(self, stream):
        for line in stream:
            text = line.decode("utf-8", "replace").rstrip("\n")
            with self.condition:
                self.lines.append(text)
                try:
                    event = json.loads(text)
                except ValueError:
                    event = None
                if isinstance(event, dict):
                    self.events.append(event)
                self.condition.notify_all()
        with self.condition:
            self.unread -= 1
            self.condition.notify_all()

    def listening(self):
        """Waits until both listeners are up."""
        event = self.logged(lambda e: e.get("event") == "listening", "the `listening` line")
        self.proxy, self.admin = self._address(event["proxy"]), self._address(event["admin"])
        return self

    @staticmethod
    def _address(text):
        """(host, port), or the path of a unix socket."""
        if text.startswith("unix:"):
            return text[len("unix:"):]
        host, _, port = text.rpartition(":")
        return host.strip("[]"), int(port)

    def logged(self, matches, what, times=1):
        """Waits for the @times-th log event that @matches, and returns it."""
        def found():
            return [event for event in self.events if matches(event)]

        def settled():
            return len(found()) >= times or self.unread == 0

        with self.condition:
            deadline = time.monotonic() + PATIENCE_S
            while not settled() and time.monotonic() < deadline:
                self.condition.wait(0.2)
            events = found()
            if len(events) < times:
                raise AssertionError(f"expected {what} in the log; exit {self.process.poll()}, it says:\n{self.log()}")
            return events[times - 1]

    def log(self):
        return "\n".join(self.lines[-60:])

    def request_lines(self, count):
        """The log lines of the first @count requests, once they are there."""
        self.logged(is_request_line, f"{count} request line(s)", times=count)
        return [event for event in self.events if is_request_line(event)]

    # Its own account of itself.

    def exposition(self):
        """What /metrics says, as text."""
        client = Client(self.admin, credential=None)
        try:
            answer = client.get("/metrics").whole()
            assert answer.status == 200, f"expected 200 from /metrics: {answer!r}"
            return answer.body.decode()
        finally:
            client.close()

    def scrape(self):
        """Every sample of /metrics: {(name, frozenset of label pairs): value}."""
        return parse_metrics(self.exposition())

    def metric(self, name, **labels):
        """The sum of a metric's samples that carry these labels."""
        wanted = set(labels.items())
        samples = self.scrape()
        return sum(value for ((sample, pairs), value) in samples.items()
                   if sample == f"refrain_{name}" and wanted <= pairs)

    def waits_for(self, name, value, **labels):
        """Waits until a metric has this value."""
        wait_until(lambda: self.metric(name, **labels) == value,
                   f"refrain_{name}{labels} to be {value}, it is {self.metric(name, **labels)}")

    def rss_bytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    # Signals.

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def exits(self):
        """Waits for the end and returns the exit code."""
        code = self.process.wait(PATIENCE_S + 10)
        for pump in self.pumps:
            pump.join(PATIENCE_S)
        return code

    def stop(self):
        """Ends it and checks that it ended well."""
        if self.process.poll() is None:
            self.terminate()
        try:
            code = self.exits()
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"expected an exit after SIGTERM; the log says:\n{self.log()}") from None
        reports = [line for line in self.lines if REPORT.search(line)]
        assert not reports, "a sanitizer or an assertion spoke:\n" + "\n".join(self.lines[-120:])
        assert code == 0, f"expected exit 0 after SIGTERM, got {code}; the log says:\n{self.log()}"


def is_request_line(event):
    return "result" in event and "status" in event


SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


def parse_metrics(text):
    samples = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        match = SAMPLE.match(line)
        assert match, f"not a line of Prometheus text: {line!r}"
        labels = frozenset(LABEL.findall(match[2] or ""))
        assert (match[1], labels) not in samples, f"a sample stands twice: {line!r}"
        samples[match[1], labels] = float(match[3])
    return samples


def raise_file_limit(wanted):
    """Lets this process, and what it starts, have @wanted descriptors; returns how many it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
        except (ValueError, PermissionError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def sanitized():
    """Whether the binary carries a sanitizer: its memory then says nothing of ours."""
    marks = (b"__asan_init", b"__tsan_init")
    data = pathlib.Path(binary()).read_bytes()
    return any(mark in data for mark in marks)
