"""HTTP/1.1 over asyncio, just enough to tell an answer from the lack of one."""

import asyncio
import base64
import json
import urllib.parse

LIMIT = 30  # seconds for one request; the server's own limit is shorter


class Lost(Exception):
    """The request was sent, or a part of it, and no whole answer came back."""


class Unsent(Exception):
    """There was nobody to send it to."""


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


class Connection:
    """One kept-alive connection; it is opened again when it was closed."""

    def __init__(self, port):
        self.port, self.reader, self.writer = port, None, None

    def close(self):
        if self.writer:
            self.writer.close()
        self.reader = self.writer = None

    async def request(self, method, path, headers=None, form=None, body=None):
        payload = b""
        headers = dict(headers or {})
        if form is not None:
            payload = urllib.parse.urlencode(form).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        elif body is not None:
            payload = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        headers |= {"Host": f"127.0.0.1:{self.port}", "Content-Length": str(len(payload))}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        if self.writer is None:
            try:
                self.reader, self.writer = await asyncio.wait_for(
                    asyncio.open_connection("127.0.0.1", self.port), 5)
            except (OSError, asyncio.TimeoutError) as error:
                raise Unsent(str(error)) from None
        try:
            return await asyncio.wait_for(self._exchange(f"{method} {path} HTTP/1.1\r\n{head}\r\n", payload), LIMIT)
        except (OSError, EOFError, asyncio.TimeoutError) as error:
            self.close()
            raise Lost(f"{type(error).__name__} {error}") from None
        except BaseException:
            self.close()
            raise

    async def _exchange(self, head, payload):
        self.writer.write(head.encode() + payload)
        await self.writer.drain()
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ", 2)[1])
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        if "chunked" in headers.get("transfer-encoding", ""):
            body = await self._chunks()
        else:
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Answer(status, headers, body)

    async def _chunks(self):
        body = b""
        while True:
            size = int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16)
            chunk = await self.reader.readexactly(size + 2)
            if size == 0:
                return body
            body += chunk[:-2]


def basic(client_id, secret):
    pair = ":".join(urllib.parse.quote(part, safe="") for part in (client_id, secret))
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def bearer(token):
    return {"Authorization": f"Bearer {token}"}
