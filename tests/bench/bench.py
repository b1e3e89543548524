#!/usr/bin/env python3
"""Runs the servers, loads them in turn and prints what each request cost. Started by run.sh, which builds the tools.

Every server is pinned to one core and the load generator to another. Rounds are interleaved, so that whatever else the
machine does falls on all alike; each figure is the median over the rounds. CPU a request is what the kernel accounts to
the server's threads (/proc/PID/task/*/schedstat) over the requests answered: of all figures the one to trust, since the
others also depend on how fast the generator is.
"""
import argparse
import http.client
import json
import math
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build"
LOAD, BARE, REFRAIN = BUILD / "tests/bench/bench_load", BUILD / "tests/bench/bench_bare", BUILD / "refrain"
SERVER_CORE, LOAD_CORE = 0, 1

SIZES = {"1 KB": 1024, "16 KB": 16384, "100 KB": 102400}

# What the project promises, as Refrain's CPU a request over the other's: (size, other) -> at most.
LIMITS = {
    ("1 KB", "bare"): 1.7, ("1 KB", "nginx"): 0.6, ("1 KB", "varnish"): 0.4,
    ("16 KB", "bare"): 2.2, ("16 KB", "nginx-md5"): 0.3, ("16 KB", "varnish"): 0.2,
    ("100 KB", "bare"): 2.6, ("100 KB", "nginx-md5"): 0.2, ("100 KB", "varnish"): 0.12,
}
ENTRIES_GROWTH_MAX = 1.25
MISS_ADDED_US_MAX = {"whole": 100, "stream": 150}


# --- servers ---

def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A process and its children, pinned to a core; ended by process id."""

    def __init__(self, name, command, port, core, directory, environment=None):
        self.name, self.port, self.directory = name, port, directory
        self.log = open(directory / "output.log", "wb")
        self.process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            env={**os.environ, **(environment or {})}, preexec_fn=lambda: os.sched_setaffinity(0, {core}))
        self.wait_until_it_answers()

    def wait_until_it_answers(self):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        self.stop()
        sys.exit(f"{self.name} did not start:\n{(self.directory / 'output.log').read_text(errors='replace')[-2000:]}")

    def pids(self):
        found, waiting = [], [self.process.pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            try:
                waiting += map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            except OSError:
                pass
        return found

    def cpu_ns(self):
        """CPU time of every thread alive, by thread."""
        spent = {}
        for pid in self.pids():
            for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
                try:
                    spent[task.name] = thread_cpu_ns(task)
                except OSError:
                    pass  # it ended meanwhile
        return spent

    def rss_bytes(self):
        kilobytes = 0
        for pid in self.pids():
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            kilobytes += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        return kilobytes * 1024

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


def thread_cpu_ns(task):
    try:
        return int((task / "schedstat").read_text().split()[0])
    except FileNotFoundError:  # a kernel without it
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1000000000 // os.sysconf("SC_CLK_TCK")


class Bench:
    """The running servers and the directory that all of it lives in."""

    def __init__(self):
        # On tmpfs, so that nginx's cache files cost it no disk.
        shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="refrain-bench-", dir=shm))
        os.chmod(self.top, 0o755)  # nginx and varnishd give up root and must still get in
        self.servers = []

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        for server in reversed(self.servers):
            server.stop()
        shutil.rmtree(self.top, ignore_errors=True)

    def directory(self, name):
        path = self.top / name
        path.mkdir()
        os.chmod(path, 0o777)
        return path

    def start(self, name, command, port, core=SERVER_CORE, directory=None, environment=None):
        server = Server(name, command, port, core, directory or self.directory(name), environment)
        self.servers.append(server)
        return server

    def filled(self, template, directory, port, upstream):
        text = (HERE / template).read_text()
        for word, value in (("@DIR@", directory), ("@PORT@", port), ("@UPSTREAM@", upstream)):
            text = text.replace(word, str(value))
        path = directory / template
        path.write_text(text)
        return path

    def bare(self, name="bare", core=SERVER_CORE):
        port = free_port()
        return self.start(name, [BARE, port], port, core)

    def nginx(self, name, template, upstream, pair=None):
        port, directory = free_port(), self.directory(name)
        config = self.filled(template, directory, port, upstream)
        if pair:
            tls = f" ssl;\nssl_certificate {pair[0]};\nssl_certificate_key {pair[1]};\nssl_protocols TLSv1.2 TLSv1.3;\n"
            config.write_text(config.read_text().replace(" backlog=1024;", " backlog=1024" + tls))
        return self.start(name, ["nginx", "-p", directory, "-c", config], port, directory=directory)

    def varnish(self, upstream):
        port, directory = free_port(), self.directory("varnish")
        vcl = self.filled("varnish.vcl", directory, port, upstream)
        return self.start("varnish", ["varnishd", "-F", "-n", directory / "n", "-a", f"127.0.0.1:{port}", "-f", vcl,
                                      "-s", "malloc,1g", "-p", "workspace_client=256k"], port, directory=directory)

    def refrain(self, upstream, settings=(), name="refrain", binary=REFRAIN):
        port, admin, directory = free_port(), free_port(), self.directory(name)
        command = [binary, "serve", "--upstream", f"http://127.0.0.1:{upstream}", "--listen", f"127.0.0.1:{port}",
                   "--admin", f"127.0.0.1:{admin}", "--set", "listen.workers=1",
                   "--set", f"cache.state_dir={directory}",
                   "--set", "log.requests=false"]  # nginx's access log is off, too; the default costs what the log costs
        for setting in settings:
            command += ["--set", setting]
        server = self.start(name, command, port, directory=directory)
        server.admin = admin
        return server


# --- load ---

def load(port, **options):
    """Runs the load generator; its figures as a dict."""
    command = [str(LOAD), "--port", str(port)]
    for name, value in options.items():
        if value is True:
            command.append("--" + name.replace("_", "-"))
        elif value is not None and value is not False:
            command += ["--" + name.replace("_", "-"), str(value)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          preexec_fn=lambda: os.sched_setaffinity(0, {LOAD_CORE}))
    if done.returncode != 0:
        sys.exit(f"load generator: {done.stderr.strip()}")
    return {name: float(value) for name, value in (pair.split("=") for pair in done.stdout.split())}


def measure(server, **options):
    """One run of load, with the server's CPU a request in it, in microseconds."""
    before = server.cpu_ns()
    figures = load(server.port, **options)
    spent = sum(ns - before.get(thread, 0) for thread, ns in server.cpu_ns().items())
    figures["cpu"] = spent / figures["requests"] / 1000
    return figures


def must_hit(server, figures):
    if server.name != "bare" and figures["hits"] != figures["requests"]:
        sys.exit(f"{server.name}: {figures['requests'] - figures['hits']:.0f} of {figures['requests']:.0f} were no hits")


def median(rounds, name):
    return statistics.median(figures[name] for figures in rounds)


# --- hits ---

def compare_hits(args):
    with Bench() as bench:
        upstream = bench.bare("upstream", LOAD_CORE).port
        servers = [bench.bare(), bench.nginx("nginx", "nginx.conf", upstream),
                   bench.nginx("nginx-md5", "nginx-md5.conf", upstream), bench.varnish(upstream)]
        if REFRAIN.exists():
            servers.append(bench.refrain(upstream, args.set))
        chosen = [s for s in servers if not args.servers or s.name in args.servers]
        ratios = []
        for size in args.sizes:
            ratios += compare_size(size, chosen, args)
        print_ratios(ratios)


def compare_size(size, servers, args):
    body = SIZES[size]
    # The head of an nginx cache file ends below 64 KiB, and holds the key: here the body itself.
    able = [s for s in servers if not (s.name == "nginx" and body > 64 << 10)]
    for server in able:
        load(server.port, body=body, connections=1, seconds=0.1)
    saturated = rounds_of(able, args.rounds, must_hit, body=body, seconds=args.seconds, connections=args.connections)
    rate = args.rate or int(0.5 * min(median(rounds, "rate") for rounds in saturated.values()))
    offered = rounds_of(able, args.rounds, must_hit, body=body, seconds=args.seconds, connections=args.connections, rate=rate)
    print_table(f"{size} request, 1.5 KB answer; saturated, {args.connections} connections", saturated)
    print_table(f"{size} request, 1.5 KB answer; {rate} requests/s offered to each", offered)
    return [(size, "saturated", cpu_of(saturated)), (size, f"{rate}/s", cpu_of(offered))]


def rounds_of(servers, rounds, check, **options):
    """Figures of each server, a list by round, each looked at by check(server, figures); the order turns with each round."""
    results = {server.name: [] for server in servers}
    for number in range(rounds):
        turn = number % len(servers)
        for server in servers[turn:] + servers[:turn]:
            figures = measure(server, **options)
            check(server, figures)
            results[server.name].append(figures)
    return results


def cpu_of(results):
    return {name: median(rounds, "cpu") for name, rounds in results.items()}


def print_table(title, results):
    print(f"\n{title}")
    print(f"  {'':10} {'CPU us/req':>11} {'(rounds)':>15} {'requests/s':>11} {'p50 us':>8} {'p99 us':>8}  generator idle")
    for name, rounds in results.items():
        cpus = [figures["cpu"] for figures in rounds]
        spread = f"{min(cpus):.1f}-{max(cpus):.1f}"
        print(f"  {name:10} {median(rounds, 'cpu'):11.2f} {spread:>15} {median(rounds, 'rate'):11.0f} "
              f"{median(rounds, 'p50'):8.0f} {median(rounds, 'p99'):8.0f}  {100 * median(rounds, 'idle'):.0f} %"
              + ("" if median(rounds, "idle") > 0.05 else ", so the rate is the generator's"), flush=True)


def print_ratios(ratios):
    if not any("refrain" in cpu for _, _, cpu in ratios):
        print("\nNo ratios: build/refrain was not measured.")
        return
    print("\nCPU a request, Refrain's over the other's")
    print(f"  {'request':8} {'load':12} {'other':10} {'ratio':>6} {'limit':>6}")
    for size, kind, cpu in ratios:
        for name in cpu:
            if name == "refrain" or "refrain" not in cpu:
                continue
            ratio, limit = cpu["refrain"] / cpu[name], LIMITS.get((size, name))
            held = "" if limit is None else f"{limit:6.2f}  {'held' if ratio <= limit else 'OVER'}"
            print(f"  {size:8} {kind:12} {name:10} {ratio:6.2f} {held}")


# --- two builds ---

def compare_builds(args):
    """Hits of this build beside those of another, in pairs whose order turns: what a change has cost."""
    with Bench() as bench:
        upstream = bench.bare("upstream", LOAD_CORE).port
        was = bench.refrain(upstream, args.set, "other", args.against)
        is_ = bench.refrain(upstream, args.set + args.only_here, "this")
        print(f"\nHits, {args.rounds} pairs of {args.seconds} s, this build over the other; CPU a request")
        for size in args.sizes:
            for server in (was, is_):
                load(server.port, body=SIZES[size], connections=1, seconds=0.1)
            rounds = rounds_of([was, is_], args.rounds, must_hit, body=SIZES[size], seconds=args.seconds,
                               connections=args.connections, rate=args.rate)
            ratios = sorted(new["cpu"] / old["cpu"] for old, new in zip(rounds["other"], rounds["this"]))
            low, high, sure = interval(ratios)
            print(f"  {size:8} other {median(rounds['other'], 'cpu'):6.2f} us, this {median(rounds['this'], 'cpu'):6.2f} us; median ratio "
                  f"{statistics.median(ratios):.3f}, between {low:.3f} and {high:.3f} ({100 * sure:.0f} % sure)", flush=True)


def interval(values):
    """Two order statistics that the true median lies between with at least 95 % (of few values: all there are), and how
    surely; of any distribution."""
    n, outside, cut = len(values), 0.0, 0
    while cut < n // 2 and 2 * (outside + math.comb(n, cut) / 2**n) <= 0.05:
        outside += math.comb(n, cut) / 2**n
        cut += 1
    first = max(cut - 1, 0)
    return values[first], values[n - 1 - first], 1 - 2 * sum(math.comb(n, k) for k in range(first + 1)) / 2**n


# --- entries ---

def compare_entries(args):
    """The same server with more and more stored; requests drawn at random from all of it."""
    rows = []
    with Bench() as bench:
        upstream = bench.bare("upstream", LOAD_CORE).port
        server = bench.refrain(upstream, ["tiers.memory.max_bytes=8GiB", *args.set])
        filled = 0
        for entries in args.counts:
            load(server.port, in_order=True, first=filled, entries=entries - filled)
            filled = entries
            rounds = [measure(server, entries=entries, seconds=args.seconds, connections=args.connections)
                      for _ in range(args.rounds)]
            for figures in rounds:
                must_hit(server, figures)
            rows.append((entries, median(rounds, "cpu"), median(rounds, "rate"), median(rounds, "p99"),
                         server.rss_bytes(), rounds[0]["answer_bytes"]))
    print("\nHits drawn at random from all stored entries, 1 KB request, 1.5 KB answer")
    print(f"  {'entries':>9} {'CPU us/req':>11} {'grown':>7} {'requests/s':>11} {'p99 us':>8} {'RSS MiB':>9} {'RSS B/entry':>12}")
    for entries, cpu, rate, p99, rss, _ in rows:
        print(f"  {entries:9} {cpu:11.2f} {cpu / rows[0][1]:7.2f} {rate:11.0f} {p99:8.0f} {rss / 2**20:9.0f} "
              f"{(rss - rows[0][4]) / max(entries - rows[0][0], 1):12.0f}")
    print(f"  limit: grown by at most {ENTRIES_GROWTH_MAX}")


# --- what operators ask ---

ADMIN_PATHS = ["/metrics", "/api/v1/stats", "/api/v1/popular?limit=100", "/api/v1/namespaces", "/api/v1/export",
               "/api/v1/entries?limit=1000", "/api/v1/entries?limit=1000&tag=none", "/api/v1/entries/0123456789abcdef",
               "every page of /api/v1/entries"]


class Operator(threading.Thread):
    """Asks one path again and again, until stopped; how long each answer took."""

    def __init__(self, server, path):
        super().__init__(daemon=True)
        token = (server.directory / "admin.token").read_text().strip()
        self.headers = {"Authorization": f"Bearer {token}"}
        self.admin, self.path, self.times, self.trouble, self.stopped = server.admin, path, [], "", threading.Event()

    def ask(self, path):
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=60)
        connection.request("GET", path, headers=self.headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        self.times.append(time.monotonic() - began)
        if answer.status not in (200, 404):
            self.trouble = f"{path}: {answer.status} {text[:300]}"
            self.stopped.set()
        return text

    def run(self):
        page = "/api/v1/entries?limit=1000"
        cursor = ""
        while not self.stopped.is_set():
            if not self.path.startswith("every"):
                self.ask(self.path)
                continue
            told = json.loads(self.ask(page + cursor))
            cursor = f"&cursor={told['cursor']}" if told["cursor"] else ""


def compare_admin(args):
    """A million entries: how long operators wait, and what hits notice of it, at a rate that is a quarter of what is possible."""
    with Bench() as bench:
        upstream = bench.bare("upstream", LOAD_CORE).port
        server = bench.refrain(upstream, ["tiers.memory.max_bytes=8GiB", *args.set])
        entries = args.counts[-1]
        load(server.port, in_order=True, entries=entries)
        for _ in range(2):
            load(server.port, entries=entries, seconds=args.seconds)
        rate = args.rate or int(load(server.port, entries=entries, seconds=args.seconds)["rate"] / 4)
        print(f"\n{entries} entries, {rate} hits a second, one operator who asks again at once; process on one core")
        print(f"  {'asked':36} {'answers':>7} {'median ms':>10} {'longest ms':>10}   hits: {'p50 us':>8} {'p99 us':>8} {'p99.9 us':>9}")
        for path in ["nothing", *ADMIN_PATHS, "nothing"]:
            operator = Operator(server, path)
            if path != "nothing":
                operator.start()
            figures = load(server.port, entries=entries, seconds=max(args.seconds, 5), rate=rate)
            operator.stopped.set()
            if path != "nothing":
                operator.join()
            if operator.trouble:
                sys.exit(operator.trouble)
            must_hit(server, figures)
            times = sorted(operator.times) or [0]
            print(f"  {path:36} {len(operator.times):7} {statistics.median(times) * 1000:10.1f} {times[-1] * 1000:10.1f}"
                  f"         {figures['p50']:8.0f} {figures['p99']:8.0f} {figures['p999']:9.0f}", flush=True)


# --- misses ---

def compare_misses(args):
    """Every request a new one, one at a time, straight and through Refrain in turn; where another build is named, through
    both builds of it."""
    with Bench() as bench:
        # On the server's core: straight or through Refrain, a request then wakes the other core as often.
        direct = bench.bare("upstream", SERVER_CORE)
        servers = [direct, bench.refrain(direct.port, args.set + args.only_here, "this")]
        if args.against:
            servers.insert(1, bench.refrain(direct.port, args.set, "other", args.against))
        print("\nOne request at a time, each a miss, 1 KB request")
        for kind, value in (("whole", "p50"), ("stream", "first_p50")):
            rounds = rounds_of(servers, args.rounds, must_miss, connections=1, seconds=args.seconds, entries=1 << 40,
                               stream=kind == "stream")
            print_misses(kind, value, rounds)


def must_miss(server, figures):
    if figures["hits"] > 0:
        sys.exit(f"{server.name}: {figures['hits']:.0f} of {figures['requests']:.0f} were no misses")


def print_misses(kind, value, rounds):
    straight = median(rounds["upstream"], value)
    for name in ("other", "this"):
        if name in rounds:
            through = median(rounds[name], value)
            print(f"  {'first byte of a stream' if kind == 'stream' else 'whole answer':23} {name:5} p50 {straight:6.1f} us "
                  f"straight, {through:6.1f} us through Refrain: {through - straight:6.1f} us added (limit "
                  f"{MISS_ADDED_US_MAX[kind]}); CPU {median(rounds[name], 'cpu'):6.2f} us", flush=True)
    for what, unit in ((value, "p50"), ("cpu", "CPU")) if "other" in rounds else ():
        saved = sorted(new[what] - old[what] for old, new in zip(rounds["other"], rounds["this"]))
        low, high, sure = interval(saved)
        print(f"  {'':23} this over other, {unit}: {statistics.median(saved):+.1f} us, between {low:+.1f} and {high:+.1f} "
              f"({100 * sure:.0f} % sure)", flush=True)


# --- TLS ---

WRK = """wrk.method = "POST"
wrk.path = "/v1/chat/completions"
wrk.body = '{"model":"m","messages":[{"role":"user","content":"' .. string.rep("x", 1000) .. '"}]}'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer bench"
"""
CLOSING = 'wrk.headers["Connection"] = "close"\n'


def make_pair(folder):
    cert, key = folder / "tls.pem", folder / "tls.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


def wrk(server, scheme, script, connections, seconds):
    """One run of wrk: CPU a request in microseconds, requests a second."""
    before = server.cpu_ns()
    done = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", script,
                           f"{scheme}://127.0.0.1:{server.port}"], capture_output=True, text=True, check=True,
                          preexec_fn=lambda: os.sched_setaffinity(0, {LOAD_CORE}))
    spent = sum(ns - before.get(thread, 0) for thread, ns in server.cpu_ns().items())
    if "Non-2xx" in done.stdout or "errors" in done.stdout:
        sys.exit(f"{server.name}: {done.stdout}")
    requests = int(re.search(r"(\d+) requests in", done.stdout)[1])
    return {"cpu": spent / requests / 1000, "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)[1])}


def compare_tls(args):
    """Hits over TLS beside nginx with the same key (P-256): on kept connections, and a handshake for each."""
    with Bench() as bench:
        upstream = bench.bare("upstream", LOAD_CORE).port
        pair = make_pair(bench.top)
        os.chmod(pair[1], 0o644)  # nginx has given up root by then
        settings = [f"listen.tls.cert={pair[0]}", f"listen.tls.key={pair[1]}", *args.set]
        servers = [(bench.refrain(upstream, settings, name="refrain-tls"), "https"),
                   (bench.nginx("nginx-tls", "nginx.conf", upstream, pair), "https"),
                   (bench.refrain(upstream, args.set), "http"), (bench.nginx("nginx", "nginx.conf", upstream), "http")]
        for kind, extra, connections in (("kept connections", "", args.connections), ("a connection each", CLOSING, 8)):
            script = bench.top / "wrk.lua"
            script.write_text(WRK + extra)
            results = {server.name: [] for server, _ in servers}
            for number in range(args.rounds + 1):
                turn = number % len(servers)
                for server, scheme in servers[turn:] + servers[:turn]:
                    figures = wrk(server, scheme, script, connections, args.seconds)
                    if number > 0:  # the first one fills
                        results[server.name].append(figures)
            print_tls(kind, results)


def print_tls(kind, results):
    print(f"\n1 KB request, 1.5 KB answer, hits, {kind}")
    for name, rounds in results.items():
        cpus = [figures["cpu"] for figures in rounds]
        print(f"  {name:12} {median(rounds, 'cpu'):8.2f} us CPU a request ({min(cpus):.1f}-{max(cpus):.1f}), "
              f"{median(rounds, 'rate'):8.0f} requests/s")
    for one, other in (("refrain-tls", "nginx-tls"), ("refrain-tls", "refrain"), ("nginx-tls", "nginx")):
        ratios = [a["cpu"] / b["cpu"] for a, b in zip(results[one], results[other])]
        print(f"  {one} over {other}: {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})", flush=True)


def main():
    parser = argparse.ArgumentParser(description="Measures Refrain beside a bare responder, nginx and Varnish.")
    parser.add_argument("--entries", action="store_true", help="CPU a hit at rising numbers of entries")
    parser.add_argument("--admin", action="store_true", help="what operators ask of a million entries, and what hits notice of it")
    parser.add_argument("--tls", action="store_true", help="hits and handshakes over TLS beside nginx")
    parser.add_argument("--miss", action="store_true", help="what a miss adds to asking upstream directly")
    parser.add_argument("--against", metavar="BINARY", help="hits, or misses, beside those of another build, in pairs")
    parser.add_argument("--only-here", action="append", default=[], metavar="a.b=c", help="with --against: for this build alone")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each run")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rate", type=int, help="offered requests/s (default: half of what the slowest server can do)")
    parser.add_argument("--sizes", type=lambda text: text.split(","), default=list(SIZES), help="1 KB,16 KB,100 KB")
    parser.add_argument("--servers", type=lambda text: text.split(","), help="bare,nginx,nginx-md5,varnish,refrain")
    parser.add_argument("--counts", type=lambda text: [int(n) for n in text.split(",")], default=[1000, 1000000])
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="passed on to refrain serve")
    args = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("two cores are needed: one for the server, one for the load generator")
    signal.signal(signal.SIGTERM, lambda *unused: sys.exit(1))  # so that what was started is stopped
    if args.against and not args.miss:
        compare_builds(args)
    elif args.entries:
        compare_entries(args)
    elif args.admin:
        compare_admin(args)
    elif args.tls:
        compare_tls(args)
    elif args.miss:
        compare_misses(args)
    else:
        compare_hits(args)


if __name__ == "__main__":
    main()
