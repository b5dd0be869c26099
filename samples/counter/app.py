"""Counts visits. Redis is spoken to over a plain socket, so no package is needed."""

import os
import socket
from http.server import BaseHTTPRequestHandler, HTTPServer

REDIS = (os.environ.get("REDIS_HOST", "localhost"), 6379)


def increment(key):
    with socket.create_connection(REDIS, timeout=5) as redis:
        redis.sendall(f"INCR {key}\r\n".encode())
        answer = redis.makefile("rb").readline().decode().strip()
    if not answer.startswith(":"):
        raise OSError(f"Redis says {answer}")
    return int(answer[1:])


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/":
            return self.answer(404, "There is only one page.\n")
        try:
            visits = increment("visits")
        except OSError as error:
            return self.answer(503, f"No Redis: {error}\n")
        self.answer(200, f"Visit number {visits}, answered by {socket.gethostname()}.\n")

    def answer(self, status, text):
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


print("listening on port 8000", flush=True)
HTTPServer(("", 8000), Handler).serve_forever()
