"""A transmitter as a receiver knows it: its metadata, a token, streams, polls. Plain HTTP, nothing of Writ's."""

import json
import time
import urllib.parse

from judging import http
from wire import basic

PUSH, POLL = "urn:ietf:rfc:8935", "urn:ietf:rfc:8936"


class Receiver:
    """One registered receiver. `address` is where its requests go, when that is not where the issuer says."""

    def __init__(self, issuer, client_id, secret, address=None):
        self.issuer, self.client_id, self.secret = issuer, client_id, secret
        self.address = address or issuer
        self.tokens = {}
        self.configuration = self.discover().json()

    def discover(self):
        at = urllib.parse.urlsplit(self.issuer)
        path = f"/.well-known/ssf-configuration{at.path.rstrip('/')}"
        return http("GET", self.there(f"{at.scheme}://{at.netloc}{path}"))

    def there(self, url):
        """A URL of the issuer at the address that is asked."""
        origin = "{0.scheme}://{0.netloc}".format(urllib.parse.urlsplit(self.issuer))
        place = "{0.scheme}://{0.netloc}".format(urllib.parse.urlsplit(self.address))
        return place + url.removeprefix(origin)

    def token_answer(self, scope, **more):
        form = {"grant_type": "client_credentials", "scope": scope} | more
        return http("POST", self.there(f"{self.issuer}/token"), basic(self.client_id, self.secret), form)

    def token(self, scope="ssf.manage"):
        """A token with this scope, kept for most of its life."""
        known = self.tokens.get(scope)
        if known is None or known[1] < time.monotonic():
            answer = self.token_answer(scope)
            if answer.status != 200:
                raise RuntimeError(f"no token for {scope}: {answer.status} {answer.body[:300]!r}")
            said = answer.json()
            known = self.tokens[scope] = (said["access_token"], time.monotonic() + said["expires_in"] / 2)
        return known[0]

    def url(self, name, stream_id=None):
        url = self.there(self.configuration[name])
        return url if stream_id is None else f"{url}?{urllib.parse.urlencode({'stream_id': stream_id})}"

    def call(self, method, url, body=None, token="ssf.manage", raw=None, timeout=10, **headers):
        """One request. `token` is a scope, a header's value when it has a space in it, or None."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            headers["Authorization"] = token if " " in token else f"Bearer {self.token(token)}"
        if body is not None:
            raw = json.dumps(body).encode()
        if raw is not None:
            headers["Content-Type"] = "application/json"
        return http(method, url, headers, body=raw, timeout=timeout)

    # --- streams

    def create(self, delivery=None, events=None, **more):
        """Creates a stream; the answer."""
        body = more | ({"delivery": delivery} if delivery else {}) | (
            {"events_requested": events} if events is not None else {})
        return self.call("POST", self.url("configuration_endpoint"), body)

    def stream(self, delivery=None, events=None, **more):
        """Creates a stream; what it is."""
        answer = self.create(delivery, events, **more)
        if answer.status != 201:
            raise RuntimeError(f"no stream: {answer.status} {answer.body[:300]!r}")
        return answer.json()

    def read(self, stream_id, **more):
        return self.call("GET", self.url("configuration_endpoint", stream_id), **more)

    def delete(self, stream_id, **more):
        return self.call("DELETE", self.url("configuration_endpoint", stream_id), **more)

    def set_status(self, stream_id, status, **more):
        return self.call("POST", self.url("status_endpoint"), {"stream_id": stream_id, "status": status}, **more)

    def status(self, stream_id, **more):
        return self.call("GET", self.url("status_endpoint", stream_id), **more)

    def verify(self, stream_id, state=None, **more):
        body = {"stream_id": stream_id} | ({} if state is None else {"state": state})
        return self.call("POST", self.url("verification_endpoint"), body, **more)

    def poll(self, stream, timeout=40, token="ssf.manage", headers=None, **members):
        """One poll of a stream, as it was answered when it was created."""
        url = self.there(stream["delivery"]["endpoint_url"])
        return self.call("POST", url, members, token, timeout=timeout, **(headers or {}))

    def waiting(self, stream, **members):
        """What waits for a stream now: the SETs by name."""
        return self.poll(stream, returnImmediately=True, **members).json()["sets"]

    def empty(self, stream):
        """Acknowledges what waits until nothing does."""
        while sets := self.waiting(stream):
            self.poll(stream, ack=list(sets), maxEvents=0)


def push_to(url, header=None):
    return {"method": PUSH, "endpoint_url": url} | ({"authorization_header": header} if header else {})
