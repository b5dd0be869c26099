"""Answering browsers, for both pages."""

import os
from http.server import BaseHTTPRequestHandler, HTTPServer

OPTIONS = {"a": os.environ.get("OPTION_A", "Cats"), "b": os.environ.get("OPTION_B", "Dogs")}


class Page(BaseHTTPRequestHandler):
    def answer(self, body, status=200, headers=()):
        body = f"<!doctype html>\n<meta charset=utf-8>\n{body}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def serve(handler):
    print("listening on port 80", flush=True)
    HTTPServer(("", 80), handler).serve_forever()
