"""The page where people vote. A vote goes into a queue; who voted is remembered by a cookie."""

import json
import secrets
import socket
from http.cookies import SimpleCookie
from urllib.parse import parse_qs

from page import OPTIONS, Page, serve
from redis import Redis

redis = Redis("redis")


class Vote(Page):
    def voter(self):
        cookie = SimpleCookie(self.headers.get("Cookie", "")).get("voter")
        return cookie.value if cookie else secrets.token_hex(8)

    def form(self, voter, said=""):
        buttons = "".join(
            f"<button name=vote value={key}>{name}</button>\n" for key, name in OPTIONS.items()
        )
        self.answer(
            f"<title>Vote</title>\n<h1>{' or '.join(OPTIONS.values())}?</h1>\n"
            f"<form method=post>\n{buttons}</form>\n<p>{said}\n"
            f"<p><small>answered by {socket.gethostname()}</small>",
            headers=[("Set-Cookie", f"voter={voter}; Path=/; SameSite=Lax")],
        )

    def do_GET(self):
        self.form(self.voter())

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        choice = parse_qs(self.rfile.read(length).decode()).get("vote", [""])[0]
        if choice not in OPTIONS:
            return self.answer("There is no such choice.", 400)
        voter = self.voter()
        redis("RPUSH", "votes", json.dumps({"voter": voter, "vote": choice}))
        self.form(voter, f"You voted for {OPTIONS[choice]}.")


serve(Vote)
