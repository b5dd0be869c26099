"""The part of Redis's protocol that the three programs need."""

import socket


class Redis:
    def __init__(self, host):
        self.host = host
        self.stream = None

    def __call__(self, *words):
        if self.stream is None:
            self.stream = socket.create_connection((self.host, 6379)).makefile("rwb")
        try:
            self.stream.write(b"*%d\r\n" % len(words))
            for word in (str(word).encode() for word in words):
                self.stream.write(b"$%d\r\n%s\r\n" % (len(word), word))
            self.stream.flush()
            return self.answer()
        except OSError:
            # The next call connects again.
            self.stream = None
            raise

    def answer(self):
        line = self.stream.readline()
        if not line:
            raise ConnectionError(f"{self.host} hung up")
        kind, rest = line[:1], line[1:].strip().decode()
        if kind == b"+":
            return rest
        if kind == b"-":
            raise RuntimeError(rest)
        if kind == b":":
            return int(rest)
        if rest == "-1":
            return None
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        return self.stream.read(int(rest) + 2)[:-2].decode()
