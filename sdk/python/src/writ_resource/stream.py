"""This server's stream of security events at the transmitter (SSF 1.0 §8, RFC 8936, and Writ's feed)."""

from __future__ import annotations

import secrets
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import httpx2

from .errors import SetupError
from .sets import MAX_SET
from .web import MAX_DOCUMENT, Answer, Credentials, Web, WebError

PUSH = "urn:ietf:rfc:8935"
POLL = "urn:ietf:rfc:8936"

LONG_POLL = 40
"""Seconds to wait for the answer to a poll; transmitters hold it for about 25."""

MAX_EVENTS = 100
"""SETs in the answer to a poll, at most."""

MAX_ANSWER = 8 * 1024 * 1024
"""Octets of that answer: as many SETs, each as long as can be, and then some."""

IDLE_FEED = 45
"""Seconds of silence after which a feed is taken for dead; it says something every 15."""


@dataclass(frozen=True)
class FeedEvent:
    """One event of a feed."""

    kind: str
    """`set`, or `end` after the last one of a replay that nothing follows; others may be added."""
    jti: str
    data: str


@dataclass(frozen=True)
class Push:
    """Delivery to an address of this server (RFC 8935)."""

    url: str
    """Where the transmitter reaches this very process: https, or a path such as `/.writ/events` at the origin of
    the resource. `Protect` answers there."""

    def at(self, resource: str) -> str:
        """The whole URL."""
        return urljoin(resource, self.url) if self.url.startswith("/") else self.url


class Stream:
    """Finds or makes the stream, keeps it enabled, and reads from it."""

    def __init__(
        self,
        web: Web,
        resource: str,
        credentials: Credentials,
        clock: Callable[[], float],
        instance: str | None,
        events: Sequence[str],
        push: Push | None,
        push_secret: str,
    ) -> None:
        self._web = web
        self._resource = resource
        self._credentials = credentials
        self._clock = clock
        self._instance = instance
        self._wanted: dict[str, Any] = {
            "events_requested": list(events),
            "delivery": {"method": POLL}
            if push is None
            # Transmitters never tell the header again, so it is set anew at every start.
            else {"method": PUSH, "endpoint_url": push.at(resource), "authorization_header": push_secret},
        }
        self._token = ""
        self._token_until = float("-inf")
        self._metadata: Mapping[str, Any] = {}
        self._id = ""
        self._poll_url = ""

    @property
    def critical(self) -> Sequence[str]:
        """Subject members without whose understanding an event must be discarded."""
        members = self._metadata.get("critical_subject_members", [])
        return members if isinstance(members, list) else []

    @property
    def has_feed(self) -> bool:
        """Whether the transmitter can send again what was sent before."""
        return "feed_endpoint" in self._metadata

    async def prepare(self) -> bool:
        """Has the stream there, as wanted and enabled. Answers whether events may have been lost meanwhile.

        `SetupError` when it is not the stream this server can trust.
        """
        self._web.forget()
        # Not before: a server that forks its workers makes what they share before there are any.
        self._wanted.setdefault("description", f"writ-resource {self._instance or made_up_name()}")
        self._metadata = await self._web.transmitter()
        configuration = self._endpoint("configuration_endpoint")
        stream = self._ours(await self._api("GET", configuration))
        created = stream is None
        if stream is None:
            stream = await self._create(configuration)
        elif not self._is_as_wanted(stream):
            changed = {"stream_id": stream.get("stream_id"), **self._wanted}
            stream = (await self._api("PATCH", configuration, changed)).json()
        self._id = str(stream.get("stream_id"))
        await self._trust(stream, configuration)
        if self._wanted["delivery"]["method"] == POLL:
            self._poll_url = self._web.named(stream.get("delivery") or {}, "endpoint_url")
        status_url = self._endpoint("status_endpoint")
        status = (await self._api("GET", status_url, params={"stream_id": self._id})).json().get("status")
        if status != "enabled":
            await self._api("POST", status_url, {"stream_id": self._id, "status": "enabled"})
        # A paused stream keeps what arises, a disabled one does not.
        return created or status == "disabled"

    async def leave(self) -> None:
        """Deletes the stream, unless its name is known to whoever comes next."""
        if self._instance is None and self._id:
            configuration, stream_id = self._endpoint("configuration_endpoint"), self._id
            await self._api("DELETE", configuration, params={"stream_id": stream_id}, ok=(204, 404))
            self._id = ""

    async def verify(self, state: str) -> None:
        """Asks for a verification event with this state."""
        url = self._endpoint("verification_endpoint")
        await self._api("POST", url, {"stream_id": self._id, "state": state}, ok=(204,))

    async def poll(self, ack: Sequence[str], errors: Mapping[str, Any]) -> dict[str, str]:
        """Acknowledges, and waits for SETs."""
        body = {"maxEvents": MAX_EVENTS, "ack": list(ack), **({"setErrs": errors} if errors else {})}
        answer = await self._api("POST", self._poll_url, body, wait=LONG_POLL, limit=MAX_ANSWER)
        sets = answer.json().get("sets")
        if not isinstance(sets, dict) or not all(isinstance(token, str) for token in sets.values()):
            raise WebError("the answer to a poll has no sets")
        return sets

    async def acknowledge(self, ack: Sequence[str], errors: Mapping[str, Any]) -> None:
        """Acknowledges what came by the feed."""
        body = {"ack": list(ack), "maxEvents": 0, "returnImmediately": True}
        await self._api("POST", self._poll_url, body | ({"setErrs": errors} if errors else {}))

    @asynccontextmanager
    async def feed(self, replay: int | None, last: str | None) -> AsyncIterator[AsyncIterator[FeedEvent]]:
        """The open feed: its events, until the transmitter ends it."""
        url = self._endpoint("feed_endpoint")
        params = {"stream_id": self._id} | ({} if replay is None else {"replay": str(replay)})
        headers = {"accept": "text/event-stream", "authorization": f"Bearer {await self._bearer()}"}
        if last is not None:
            headers["last-event-id"] = last
        timeout = httpx2.Timeout(10, read=IDLE_FEED)
        try:
            request = self._web.client.stream("GET", url, params=params, headers=headers, timeout=timeout)
            async with request as response:
                if response.status_code != 200:
                    self._refused(response.status_code)
                    raise WebError(f"the feed answered {response.status_code}", response.status_code)
                yield _server_sent_events(response.aiter_bytes())
        except httpx2.HTTPError as error:
            raise WebError(f"the feed: {type(error).__name__} {error}") from error

    async def _create(self, configuration: str) -> dict[str, Any]:
        try:
            return (await self._api("POST", configuration, self._wanted, ok=(201,))).json()
        except WebError as error:
            if error.status != 403:
                raise
            words = (
                "the transmitter lets this client have no more streams (of Writ's clients each may have 16 unless "
                "set otherwise): `writ stream list` shows them, those of no process can be deleted, and a process "
                "with an `instance` name takes up its own again"
            )
            raise WebError(f"{words}: {error}", 403) from None

    def _ours(self, answer: Answer) -> dict[str, Any] | None:
        streams = answer.value()
        if not isinstance(streams, list):
            raise WebError("the list of streams is not a list")
        description = self._wanted["description"]
        named = (s for s in streams if isinstance(s, dict) and s.get("description") == description)
        return next(named, None)

    def _is_as_wanted(self, stream: Mapping[str, Any]) -> bool:
        method = (stream.get("delivery") or {}).get("method")
        wanted = self._wanted
        same_events = sorted(stream.get("events_requested") or []) == sorted(wanted["events_requested"])
        return same_events and method == wanted["delivery"]["method"] == POLL

    async def _trust(self, stream: Mapping[str, Any], configuration: str) -> None:
        audience = stream.get("aud")
        for_us = self._resource in (audience if isinstance(audience, list) else [audience])
        if stream.get("iss") == self._web.issuer and for_us:
            return
        await self._api("DELETE", configuration, params={"stream_id": self._id}, ok=(204, 404))
        raise SetupError(f"the stream is of {stream.get('iss')!r} for {audience!r}, not for {self._resource!r}")

    def _endpoint(self, name: str) -> str:
        return self._web.named(self._metadata, name)

    async def _api(
        self,
        method: str,
        url: str,
        body: Any = None,
        *,
        params: Mapping[str, str] | None = None,
        ok: Sequence[int] = (200,),
        wait: float | None = None,
        limit: int = MAX_DOCUMENT,
    ) -> Answer:
        headers = {"accept": "application/json", "authorization": f"Bearer {await self._bearer()}"}
        more: dict[str, Any] = {} if body is None else {"json": body}
        if isinstance(body, dict) and "setErrs" in body:
            headers["content-language"] = "en"
        more |= {"headers": headers, "params": params}
        answer = await self._web.send(method, url, wait=wait, limit=limit, **more)
        if answer.status in ok:
            return answer
        self._refused(answer.status)
        after = answer.headers.get("retry-after", "")
        words = f"{method} {url} answered {answer.status} {answer.body[:200].decode(errors='replace')}"
        raise WebError(words, answer.status, float(after) if after.isdigit() else None)

    def _refused(self, status: int) -> None:
        if status == 401:
            self._token_until = float("-inf")

    async def _bearer(self) -> str:
        """A token for the SSF API, by this server's own credentials (RFC 6749 §4.4)."""
        if self._clock() >= self._token_until:
            url = await self._web.endpoint("token_endpoint")
            form = {"grant_type": "client_credentials", "scope": "ssf.manage"}
            answer = await self._web.send("POST", url, data=form, auth=self._credentials.basic)
            if answer.status != 200:
                words = answer.body[:200].decode(errors="replace")
                raise WebError(f"the token endpoint answered {answer.status} {words}", answer.status)
            said = answer.json()
            token, lifetime = said.get("access_token"), said.get("expires_in", 0)
            if not isinstance(token, str) or not isinstance(lifetime, int):
                raise WebError("the token endpoint gave no token")
            self._token, self._token_until = token, self._clock() + lifetime - min(30, lifetime / 2)
        return self._token


def made_up_name() -> str:
    """A name that no other process has."""
    return "-".join(part for part in (socket.gethostname(), secrets.token_hex(3)) if part)


async def _server_sent_events(chunks: AsyncIterator[bytes]) -> AsyncIterator[FeedEvent]:
    """Each event (HTML, server-sent events); what is not finished when the stream ends is none."""
    rest, kind, name, data = b"", "", "", ""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) + len(data) > 2 * MAX_SET:
            raise WebError("an event of the feed is too long")
        for line in lines:
            field, colon, value = line.rstrip(b"\r").decode(errors="replace").partition(":")
            value = value.removeprefix(" ")
            if field == "id":
                name = value
            elif field == "event":
                kind = value
            elif field == "data":
                data += f"{value}\n"
            elif not field and not colon:
                if data:
                    yield FeedEvent(kind, name, data.removesuffix("\n"))
                kind, data = "", ""
