"""The way to the authorization server: whom to trust with a request, and bounded answers."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlsplit, urlunsplit

import anyio
import httpx2

from .errors import SetupError
from .strict import read_json

_URL = re.compile(r"[!#-;=?-\[\]^_`a-z{|}~]+")
"""ASCII that needs no quoting in a header's quoted string either."""

MAX_DOCUMENT = 512 * 1024
"""Octets of the largest document that is read."""


class WebError(Exception):
    """The authorization server could not be asked, or answered something else."""

    def __init__(self, words: str, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.retry_after = retry_after


@dataclass(frozen=True)
class Credentials:
    """Who this server is at the authorization server."""

    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        return f"Credentials({self.client_id})"

    @property
    def basic(self) -> tuple[str, str]:
        """For HTTP Basic, encoded as RFC 6749 §2.3.1 says."""
        return quote_plus(self.client_id), quote_plus(self.client_secret)


@dataclass(frozen=True)
class Answer:
    """An answer, read whole."""

    status: int
    headers: httpx2.Headers
    body: bytes

    def value(self) -> Any:
        """The JSON it holds."""
        try:
            return read_json(self.body)
        except ValueError:
            raise WebError("an answer is not JSON", self.status) from None

    def json(self) -> dict[str, Any]:
        """The object it holds."""
        document = self.value()
        if not isinstance(document, dict):
            raise WebError("an answer is not a JSON object", self.status)
        return document


def trusted_url(name: str, value: str) -> str:
    """An absolute https URL without a fragment; http on loopback, for development."""
    try:
        url = urlsplit(value)
        host, port = url.hostname, url.port
    except ValueError:
        host, port = None, None
    if not host or port == 0 or not _URL.fullmatch(value):
        raise SetupError(f"{name} {value!r}: an absolute URL is needed, such as https://host/path")
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(value)):
        raise SetupError(f"{name} {value!r}: https is needed; http only on a loopback address")
    if "#" in value or url.username is not None or url.password is not None:
        raise SetupError(f"{name} {value!r}: neither a fragment nor credentials may be in it")
    return value


def is_loopback(url: str) -> bool:
    """Whether the host is this machine's loopback interface."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Web:
    """Requests to one issuer and to the endpoints its metadata names: no redirects, bounded in time."""

    def __init__(self, issuer: str, timeout: float) -> None:
        self.issuer = issuer
        self._timeout = timeout
        self._client: httpx2.AsyncClient | None = None
        self._documents: dict[str, dict[str, Any]] = {}

    @property
    def client(self) -> httpx2.AsyncClient:
        if self._client is None:
            # No proxy can reach this machine's own loopback address.
            trust_env = not is_loopback(self.issuer)
            self._client = httpx2.AsyncClient(timeout=self._timeout, trust_env=trust_env)
        return self._client

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def send(
        self, method: str, url: str, *, wait: float | None = None, limit: int = MAX_DOCUMENT, **request: Any
    ) -> Answer:
        """The answer, whatever its status, when all of it is there within `wait` seconds."""
        try:
            with anyio.fail_after(wait or self._timeout):
                return await self._receive(method, url, limit, request)
        except TimeoutError:
            raise WebError(f"{url} has not answered in time") from None
        except httpx2.HTTPError as error:
            raise WebError(f"{url}: {type(error).__name__} {error}") from error

    async def _receive(self, method: str, url: str, limit: int, request: Mapping[str, Any]) -> Answer:
        async with self.client.stream(method, url, timeout=None, **request) as response:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > limit:
                    raise WebError(f"{url} answered more than {limit} octets")
            return Answer(response.status_code, response.headers, bytes(body))

    async def get(self, url: str) -> Answer:
        """The answer of 200 at an address."""
        answer = await self.send("GET", url, headers={"accept": "application/json"})
        if answer.status != 200:
            raise WebError(f"{url} answered {answer.status}", answer.status)
        return answer

    async def endpoint(self, name: str) -> str:
        """An endpoint that the issuer's metadata names (RFC 8414 §3, OpenID Connect Discovery 1.0 §4)."""
        path = urlsplit(self.issuer).path.rstrip("/")
        forms = [f"/.well-known/oauth-authorization-server{path}", f"/.well-known/openid-configuration{path}"]
        if path:
            forms.append(f"{path}/.well-known/openid-configuration")
        failure = WebError("no metadata")
        for form in forms:
            try:
                return self.named(await self._document(form), name)
            except WebError as error:
                failure = error
        raise failure

    async def transmitter(self) -> Mapping[str, Any]:
        """The issuer's SSF configuration (SSF 1.0, transmitter configuration metadata)."""
        path = urlsplit(self.issuer).path.rstrip("/")
        return await self._document(f"/.well-known/ssf-configuration{path}")

    def forget(self) -> None:
        """Lets the next look-up ask again: what was found did not work, or is not new."""
        self._documents.clear()

    async def _document(self, path: str) -> dict[str, Any]:
        if path not in self._documents:
            parts = urlsplit(self.issuer)
            url = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
            document = (await self.get(url)).json()
            # RFC 8414 §3.3: identical, or the document belongs to someone else.
            if document.get("issuer") != self.issuer:
                raise WebError(f"{url} is of another issuer: {document.get('issuer')!r}")
            self._documents[path] = document
        return self._documents[path]

    def named(self, document: Mapping[str, Any], name: str) -> str:
        """A URL in metadata: https, and on this machine only when the issuer is here too."""
        value = document.get(name)
        if not isinstance(value, str):
            raise WebError(f"the metadata does not name {name}")
        try:
            trusted_url(name, value)
        except SetupError as error:
            raise WebError(str(error)) from None
        if is_loopback(value) and not is_loopback(self.issuer):
            raise WebError(f"{name} leads to this machine")
        return value
