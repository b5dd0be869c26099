"""Takes votes from the queue and puts each voter's latest into the database."""

import json
import time

from redis import Redis

queue, db = Redis("redis"), Redis("db")

print("waiting for votes", flush=True)
while True:
    try:
        _, text = queue("BLPOP", "votes", 0)
        vote = json.loads(text)
        db("HSET", "votes", vote["voter"], vote["vote"])
        print(f"{vote['voter']} votes for {vote['vote']}", flush=True)
    except OSError as error:
        print(f"trying again: {error}", flush=True)
        time.sleep(1)
