"""The page with the result."""

from collections import Counter

from page import OPTIONS, Page, serve
from redis import Redis

db = Redis("db")


class Result(Page):
    def do_GET(self):
        count = Counter(db("HVALS", "votes"))
        total = sum(count.values())
        rows = "".join(
            f"<tr><td>{name}<td>{count[key]}<td><meter max={max(total, 1)} value={count[key]}></meter>\n"
            for key, name in OPTIONS.items()
        )
        self.answer(
            f"<title>Result</title>\n<meta http-equiv=refresh content=2>\n<h1>Result</h1>\n"
            f"<table>\n{rows}</table>\n<p>{total} votes"
        )


serve(Result)
