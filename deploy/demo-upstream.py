#!/usr/bin/env python3
"""A scripted stand-in for an LLM provider: answers chat completions after a pause, so that a cache has something to save.

  demo-upstream.py --port-file FILE [--delay SECONDS]

Listens on a free port of 127.0.0.1 and writes its number to FILE. Standard library only.
"""
import argparse
import http.server
import json
import os
import time

TEXT = "A refrain is the part of a song that comes again, word for word, and nobody has to write it twice."


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    delay = 0.8
    served = 0

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.path.endswith("/chat/completions"):
            return self.answer(404, {"error": {"message": "the demonstration knows only chat completions",
                                               "type": "invalid_request_error", "code": "not_found"}})
        try:
            request = json.loads(body)
            model = request["model"]
        except (ValueError, TypeError, KeyError):
            return self.answer(400, {"error": {"message": "expected a JSON object with `model`",
                                               "type": "invalid_request_error", "code": "bad_request"}})
        Handler.served += 1
        common = {"id": f"chatcmpl-demo-{Handler.served}", "created": int(time.time()), "model": model}
        if request.get("stream"):
            return self.stream(common)
        time.sleep(self.delay)
        return self.answer(200, common | {
            "object": "chat.completion",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 12, "completion_tokens": 23, "total_tokens": 35}})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, common):
        """The same text, a word at a time over the same pause."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        words = TEXT.split(" ")
        for n, word in enumerate(words):
            time.sleep(self.delay / len(words))
            self.event(common, {"content": word if n == 0 else " " + word}, None)
        self.event(common, {}, "stop")
        self.chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def event(self, common, delta, finish):
        value = common | {"object": "chat.completion.chunk",
                          "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        self.chunk(b"data: " + json.dumps(value).encode() + b"\n\n")

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def log_message(self, format, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


def main():
    parser = argparse.ArgumentParser(description="scripted upstream for the demonstration")
    parser.add_argument("--port-file", required=True)
    parser.add_argument("--delay", type=float, default=0.8)
    args = parser.parse_args()
    Handler.delay = args.delay
    server = Server(("127.0.0.1", 0), Handler)
    aside = args.port_file + ".new"
    with open(aside, "w", encoding="ascii") as out:
        out.write(f"{server.server_address[1]}\n")
    os.replace(aside, args.port_file)  # a reader sees the whole number or no file
    server.serve_forever()


if __name__ == "__main__":
    main()
