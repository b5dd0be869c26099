"""What stands for Docker Hub and for the playground's own servers beside a real dockerd, on loopback and in the
namespaces of `cargo xtask judge` only: the distribution API over TLS with the Hub's tokens, one page of its search,
the Debian packages over HTTP, and a name server. hub.py IMAGES TLS ADDRESS
"""

import hashlib
import http.server
import json
import os
import socket
import ssl
import struct
import sys
import threading
import urllib.parse

IMAGES, TLS, ADDRESS = sys.argv[1:]
PACKAGES = "packages.drydock"
REALM = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"'


def error(code, message, detail=None):
    return json.dumps({"errors": [{"code": code, "message": message, "detail": detail}]}).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body, content_type="application/json", **headers):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        path, _, query = self.path.partition("?")
        self.route(urllib.parse.unquote(path), urllib.parse.parse_qs(query))

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET


class Hub(Handler):
    def route(self, path, query):
        host = (self.headers.get("Host") or "").split(":")[0]
        if host == "auth.docker.io":
            return self.token()
        if path == "/v1/search":
            return self.search(query)
        if path.startswith("/v2/"):
            return self.distribution(path[4:])
        self.answer(404, b"404 page not found\n", "text/plain")

    def token(self):
        """Anybody may read; nobody can log in."""
        if self.headers.get("Authorization") or self.command == "POST":
            return self.answer(401, b'{"details":"incorrect username or password"}\n')
        self.answer(200, b'{"token":"reader","access_token":"reader","expires_in":300}')

    def search(self, query):
        term = query.get("q", [""])[0]
        with open(f"{IMAGES}/v2/catalog.json", encoding="utf-8") as file:
            images = json.load(file)["images"]
        term = term.removeprefix("library/")
        images.sort(key=lambda image: term not in image["name"])
        found = [
            {"name": image["name"], "description": image["description"], "is_official": False, "star_count": 0}
            for image in images
            if term in image["name"] or term in image["description"]
        ]
        results = {"query": term, "num_results": len(found), "num_pages": 1, "page": 1, "results": found}
        self.answer(200, json.dumps(results).encode())

    def distribution(self, path):
        if not self.headers.get("Authorization"):
            body = error("UNAUTHORIZED", "authentication required")
            return self.answer(401, body, WWW_Authenticate=REALM)
        if not path:
            return self.answer(200, b"{}")
        name, kind, reference = (path.rsplit("/", 2) + ["", ""])[:3]
        repository = f"{IMAGES}/v2/{name}/manifests"
        if not os.path.isdir(repository) or self.command not in ("GET", "HEAD"):
            scope = f'{REALM},scope="repository:{name}:pull",error="insufficient_scope"'
            body = error("UNAUTHORIZED", "authentication required")
            return self.answer(401, body, WWW_Authenticate=scope)
        if (kind, reference) == ("tags", "list"):
            tags = {"name": name, "tags": sorted(os.listdir(repository))}
            return self.answer(200, json.dumps(tags).encode())
        blob = f"{IMAGES}/v2/blobs/{reference.replace(':', '/')}"
        try:
            with open(blob if ":" in reference else f"{repository}/{reference}", "rb") as file:
                content = file.read()
        except OSError:
            if kind == "manifests":
                body = error("MANIFEST_UNKNOWN", "manifest unknown", f"unknown tag={reference}")
            else:
                body = error("BLOB_UNKNOWN", "blob unknown to registry")
            return self.answer(404, body)
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        media_type = "application/octet-stream"
        if kind == "manifests":
            media_type = json.loads(content)["mediaType"]
        self.answer(200, content, media_type, Docker_Content_Digest=digest)


class Packages(Handler):
    def route(self, path, query):
        try:
            with open(f"{IMAGES}/packages{os.path.normpath(path)}", "rb") as file:
                self.answer(200, file.read(), "application/octet-stream")
        except OSError:
            self.answer(404, b"not found\n", "text/plain")


def names():
    """A records of the one name; the others do not exist."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((ADDRESS, 53))
    while True:
        query, peer = server.recvfrom(4096)
        labels, at = [], 12
        while at < len(query) and query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode("latin-1").lower())
            at += 1 + query[at]
        question = query[12 : at + 5]
        known = ".".join(labels) == PACKAGES
        answered = known and question[-4:-2] == b"\0\1"
        flags = 0x8180 if known else 0x8183
        reply = query[:2] + struct.pack(">HHHHH", flags, 1, int(answered), 0, 0) + question
        if answered:
            reply += struct.pack(">HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(ADDRESS)
        server.sendto(reply, peer)


def serve(address, port, handler, context=None):
    server = http.server.ThreadingHTTPServer((address, port), handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever).start()


tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(f"{TLS}/hub.pem", f"{TLS}/hub.key")
serve("127.0.0.1", 443, Hub, tls)
serve(ADDRESS, 80, Packages)
names()
