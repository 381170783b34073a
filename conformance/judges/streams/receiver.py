"""A receiver as a process of its own, which may be killed and started again.

    python receiver.py SETTINGS.json

It verifies each SET with PyJWT, writes a line about it to its ledger, and only then says that it has it. After a
start it goes on where its ledger ends. `kind` is how it is told: by push, poll or feed. It goes to the next of
`nodes` when one does not answer. What a pushed one does is read from the file `mood` at each request.
"""

import base64
import http.client
import json
import sys
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sets import Reader, Wrong, about, event

MOODS = {
    "500": (500, {}, b"no"),
    "400": (400, {"Content-Type": "application/json", "Content-Language": "en"},
            b'{"err":"authentication_failed","description":"not now"}'),
    "429": (429, {"Retry-After": "2"}, b""),
    "302": (302, {"Location": "/elsewhere"}, b""),
    "garbage": (400, {"Content-Type": "application/json"}, b"<html>\x00\xff{"),
}
SLOW = 5.2  # seconds; the transmitter gives up after five
TOGETHER = 20  # SETs of a feed that are acknowledged at a time


class Ledger:
    """What was received, one line each. A line that was cut off by a kill is no line."""

    def __init__(self, path):
        self.path, self.last = Path(path), None
        if self.path.exists():
            whole = self.path.read_bytes()
            whole = whole[: whole.rfind(b"\n") + 1]
            self.path.write_bytes(whole)
            received = [one for one in map(json.loads, whole.splitlines()) if "jti" in one]
            self.last = received[-1]["jti"] if received else None
        self.file = open(self.path, "ab", buffering=0)
        self.write({"started": True})

    def write(self, line):
        self.file.write(json.dumps(line | {"at": time.monotonic()}).encode() + b"\n")


class Taking:
    """Settings, ledger, and the reading of SETs."""

    def __init__(self, settings):
        self.settings, self.ledger = settings, Ledger(settings["ledger"])
        self.node, self.bearer = 0, None
        self.reader = None

    def take(self, compact):
        """Writes down what a SET says; whether it is one."""
        if self.reader is None:
            self.reader = Reader(self.settings["issuer"], f"{self.address()}/jwks.json")
        try:
            _, claims = self.reader.read(compact, self.settings["aud"])
        except Wrong as wrong:
            self.ledger.write({"wrong": str(wrong)})
            return None
        kind, name = about(claims)
        uri, _ = event(claims)
        self.ledger.write({"jti": claims["jti"], "txn": claims["txn"], "type": uri.rpartition("/")[2],
                           "about": [kind, name]})
        self.ledger.last = claims["jti"]
        return claims["jti"]

    # --- requests to the transmitter

    def address(self):
        return self.settings["nodes"][self.node % len(self.settings["nodes"])]

    def connection(self, timeout):
        return http.client.HTTPConnection(urllib.parse.urlsplit(self.address()).netloc, timeout=timeout)

    def headers(self):
        if self.bearer is None:
            pair = f"{self.settings['client_id']}:{urllib.parse.quote(self.settings['secret'], safe='')}"
            headers = {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode(),
                       "Content-Type": "application/x-www-form-urlencoded"}
            connection = self.connection(5)
            connection.request("POST", "/token", "grant_type=client_credentials&scope=ssf.manage", headers)
            answer = connection.getresponse()
            if answer.status != 200:
                raise OSError(f"no token: {answer.status}")
            self.bearer = json.loads(answer.read())["access_token"]
        return {"Authorization": f"Bearer {self.bearer}", "Content-Type": "application/json"}

    def forever(self, once):
        """Again and again; at the next node when something is wrong with this one."""
        while True:
            try:
                once()
            except (OSError, http.client.HTTPException, ValueError):
                self.node += 1
                time.sleep(0.05)

    def post(self, connection, path, body):
        connection.request("POST", path, json.dumps(body), self.headers())
        answer = connection.getresponse()
        said = answer.read()
        if answer.status == 401:
            self.bearer = None
        if answer.status != 200:
            raise OSError(f"{answer.status} {said[:200]!r}")
        return json.loads(said)

    # --- the three ways

    def poll(self):
        path = f"/ssf/poll/{self.settings['stream_id']}"
        connection, done = self.connection(40), []
        while True:
            sets = self.post(connection, path, {"ack": done})["sets"]
            done = [name for name, compact in sets.items() if self.take(compact) == name]

    def feed(self):
        query = urllib.parse.urlencode({"stream_id": self.settings["stream_id"]})
        headers = self.headers() | {"Accept": "text/event-stream"}
        if self.ledger.last:
            headers["Last-Event-ID"] = self.ledger.last
        stream, acknowledging = self.connection(40), self.connection(10)
        stream.request("GET", f"/ssf/feed?{query}", headers=headers)
        answer = stream.getresponse()
        if answer.status == 401:
            self.bearer = None
        if answer.status != 200:
            raise OSError(f"feed: {answer.status}")
        name, done = None, []
        for line in answer:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "id":
                name = value
            elif field == "data" and self.take(value) == name:
                done.append(name)
            if len(done) >= TOGETHER:
                self.post(acknowledging, f"/ssf/poll/{self.settings['stream_id']}",
                          {"ack": done, "maxEvents": 0, "returnImmediately": True})
                done = []
        raise OSError("the feed ended")

    def push(self):
        taking = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def do_POST(self):
                compact = self.rfile.read(int(self.headers["Content-Length"])).decode()
                if self.headers["Authorization"] != taking.settings["authorization"]:
                    return self.answer(*MOODS["400"])
                mood = Path(taking.settings["mood"]).read_text()
                if mood == "hang-up":
                    taking.ledger.write({"refused": mood})
                    self.close_connection = True
                    return None
                if mood == "noise":
                    taking.ledger.write({"refused": mood})
                    self.wfile.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
                    self.close_connection = True
                    return None
                if mood in MOODS:
                    taking.ledger.write({"refused": mood})
                    return self.answer(*MOODS[mood])
                taken = taking.take(compact)
                if mood == "slow":
                    time.sleep(SLOW)
                return self.answer(202, {}, b"") if taken else self.answer(400, {}, b'{"err":"invalid_request"}')

            def answer(self, status, headers, body):
                self.send_response(status)
                for field, value in headers.items():
                    self.send_header(field, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = allow_reuse_address = True

            def handle_error(self, *_):
                pass  # the transmitter did not wait

        Server(("127.0.0.1", self.settings["port"]), Handler).serve_forever()


def main():
    settings = json.loads(Path(sys.argv[1]).read_text())
    taking = Taking(settings)
    if settings["kind"] == "push":
        taking.push()
    else:
        taking.forever(getattr(taking, settings["kind"]))


if __name__ == "__main__":
    main()
