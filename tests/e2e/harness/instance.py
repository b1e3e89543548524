"""A scripted instance: an admin listener that answers what the test says. For what a real one would not do on command:
numbers of a certain size, another version, a refusal, an answer that is late."""

import http.server
import json
import threading

STATS = {
    "version": "9.8.7", "instance": "scripted", "started": "2026-07-01T00:00:00.000Z", "uptime_s": 93784.5,
    "now": "2026-07-02T02:03:04.500Z",
    "requests": {"total": 1234567, "hit": 1000000, "miss": 200000, "coalesced": 30000, "stale": 4000, "revalidated": 500,
                 "bypass": 60, "error": 7}, "hit_rate": 0.8377,
    "operations": [{"operation": "chat", "requests": {"total": 1000, "hit": 900, "miss": 100, "coalesced": 0, "stale": 0,
                                                      "revalidated": 0, "bypass": 0, "error": 0}, "hit_rate": 0.9}],
    "namespaces": [{"namespace": "default", "requests": {"total": 1000}, "hit_rate": None}],
    "tiers": [{"tier": "memory", "state": "up", "entries": 4242, "bytes": 178257920, "limit_bytes": 524288000, "fill": 0.34,
               "hits": 990000, "evictions": 17, "errors": 0},
              {"tier": "disk", "state": "degraded", "entries": 99000, "bytes": 9663676416, "limit_bytes": 10737418240,
               "fill": 0.9, "hits": 9000, "evictions": 0, "errors": 3},
              {"tier": "redis", "state": "off", "entries": None, "bytes": None, "limit_bytes": None, "fill": None,
               "hits": 0, "evictions": 0, "errors": 0}],
    "saved": {"tokens_in": 51000000, "tokens_out": 7300000, "seconds": 1500000.5, "dollars": 1234.56, "priced": True,
              "models": [{"model": "gpt-4o-mini", "hits": 1000, "tokens_in": 5, "tokens_out": 6, "dollars": 1.25},
                         {"model": "local", "hits": 2, "tokens_in": 1, "tokens_out": 1, "dollars": None}]},
    "upstream": {"calls": 230000, "failures": 12}, "flights": {"open": 3, "readers": 14},
    "not_stored": [{"reason": "cache_control", "count": 12}], "breakers_open": 1,
    "process": {"rss_bytes": 251658240, "connections": 21, "buffered_bytes": 65536},
}
ALERTS = {"alerts": [{"code": "memory_full", "level": "warning", "subject": "memory", "since": "2026-07-02T02:00:00.000Z",
                      "for_s": 184, "message": "The memory tier is 84 % full.", "value": 0.84, "threshold": 0.8,
                      "unit": "ratio", "what_to_do": "Raise tiers.memory.max_bytes."}],
          "counts": {"info": 0, "warning": 1, "error": 0, "critical": 0}}
BREAKERS = {"breakers": [
    {"upstream": "openai", "kind": "validation", "state": "closed", "cause": None, "for_s": 100.5, "next_probe_s": None,
     "failed": 0, "level": 1, "held": False},
    {"upstream": "openai", "kind": "availability", "model": "", "state": "open", "cause": "503", "for_s": 12.25,
     "next_probe_s": 5.5, "failed": 20, "calls": 20, "held": False}]}
POPULAR = {"entries": [{"id": f"{n:032x}", "name": f"refrain:default:chat:gpt-4o-mini:{n:064x}", "operation": "chat",
                        "model": "gpt-4o-mini", "namespace": "default", "tags": ["red"], "hits": 100 - n, "bytes": 1000 * n,
                        "tokens_in": 10, "tokens_out": n, "age_s": 60 * n, "ttl_s": 3600, "tier": "memory"}
                       for n in range(1, 41)]}
HISTORY = {"every_s": 60, "samples": [{"at": "2026-07-02T02:03:00.000Z", "seconds": 60, "hit_rate": 0.8, "p50_s": 0.00042,
                                       "p95_s": 1.25, "p99_s": 3.5, "hit_p95_s": 0.0009, "miss_p95_s": 2.5}]}
ANSWERS = {"/stats": STATS, "/alerts": ALERTS, "/breakers": BREAKERS, "/popular": POPULAR, "/stats/history": HISTORY}


class Instance:
    """Serves ANSWERS below /api/v1; @answers are laid over them: a value is sent as JSON, (status, headers, bytes) as it
    is, and None is 404."""

    def __init__(self, answers=None, port=0):
        self.answers = {**ANSWERS, **(answers or {})}
        self.asked = []
        self.late = threading.Event()  # cleared: answers are held back
        self.late.set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.asked.append(self.path)
                outer.late.wait(30)
                self.send(*outer.answer(self.path))

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def send(self, status, headers, body):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # who asked may have left
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def answer(self, path):
        value = self.answers.get(path.split("?")[0].removeprefix("/api/v1"))
        if value is None:
            return 404, {}, json.dumps({"error": {"code": "not_found", "message": "no such path"}}).encode()
        return value if isinstance(value, tuple) else (200, {}, json.dumps(value).encode() + b"\n")

    def close(self):
        self.late.set()
        self.server.shutdown()
        self.server.server_close()
