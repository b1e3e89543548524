"""Requests that go on until they are stopped, over several connections at once, each answer checked: whole, 200, and made
for the very request that it answers. What matters is told by events (so many answers), not by time."""

import collections
import dataclasses
import random
import re
import threading
import time

from .answers import digest
from .client import PATIENCE_S, Client
from .process import wait_until


@dataclasses.dataclass
class Took:
    """One answer."""

    at: float  # time.monotonic when it was asked for
    seconds: float
    result: str  # X-Cache
    tier: str  # that had it; "" where none did


class Load:
    """with Load(refrain.proxy, asks) as load: load.goes_on(200); … @asks: one of them by chance each time, or the next
    one where that is an iterator."""

    def __init__(self, address, asks, connections=4, pace_s=0.002, tls=None):
        self.asks, self.lock, self.pace_s = asks, threading.Lock(), pace_s
        self.answers, self.faults = [], []
        self.over = threading.Event()
        self.client = Client(address, tls=tls)
        self.threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(connections)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def _run(self, number):
        chance, connection = random.Random(number), self.client.connect()
        while not self.over.wait(self.pace_s):
            ask = self._choose(chance)
            began = time.monotonic()
            try:
                answer = self.client.post(ask, on=connection).whole()
                self._check(ask, answer)
            except (AssertionError, OSError) as fault:
                self.faults.append(f"{time.monotonic() - began:.3f} s: {fault}")
                connection.close()
                connection = self.client.connect()
                continue
            tier = re.search(r"detail=(memory|disk|redis)", answer.header("cache-status") or "")
            self.answers.append(Took(began, answer.ended_at - began, answer.header("x-cache"), tier[1] if tier else ""))

    def _choose(self, chance):
        if isinstance(self.asks, list):
            return chance.choice(self.asks)
        with self.lock:
            return next(self.asks)

    @staticmethod
    def _check(ask, answer):
        assert answer.status == 200, f"an error for a client: {answer!r}"
        assert digest(ask.wire_body).encode() in answer.body, f"another request's answer: {answer!r}"

    def goes_on(self, count):
        """Waits for so many more answers."""
        wanted = len(self.answers) + count
        wait_until(lambda: len(self.answers) >= wanted or self.faults, f"{count} more answers")

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(PATIENCE_S)
        self.client.close()

    def went_well(self):
        assert not self.faults, f"{len(self.faults)} faults of {len(self.answers)} answers: {self.faults[:5]}"

    def between(self, begin, end=float("inf"), tier=None):
        return [took for took in self.answers if begin <= took.at < end and (tier is None or took.tier == tier)]


def figures(title, answers):
    """One line of a table."""
    if not answers:
        return f"{title}: nothing"
    times = sorted(took.seconds * 1000 for took in answers)
    results = collections.Counter(f"{took.result} {took.tier}".strip() for took in answers)
    return (f"{title}: {len(times)} answers, p50 {quantile(times, 0.5):.1f} ms, p99 {quantile(times, 0.99):.1f} ms, "
            f"longest {times[-1]:.1f} ms; " + ", ".join(f"{name} {count}" for name, count in sorted(results.items())))


def quantile_ms(answers, share):
    return quantile(sorted(took.seconds * 1000 for took in answers), share)


def quantile(times, share):
    """Of a sorted list."""
    return times[min(len(times) - 1, int(len(times) * share))]
