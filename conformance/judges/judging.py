"""What every judge written in Python shares: a line for each check, a tally, an exit code.

A judge that raises, hangs past its limit or checks nothing has failed.
"""

import base64
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def scene():
    """The running server this judge was started for; `scene.py` wrote it."""
    return json.loads(Path(os.environ["SCENE"]).read_text())


class Judge:
    """Counts checks and prints one line for each."""

    def __init__(self, name):
        self.name, self.passed, self.failed = name, 0, 0

    def note(self, text):
        print(f"      {text}", flush=True)

    def check(self, what, held, detail=""):
        held = bool(held)
        self.passed, self.failed = self.passed + held, self.failed + (not held)
        suffix = f" [{detail}]" if detail != "" else ""
        print(f"{'ok  ' if held else 'FAIL'}  {what}{suffix}", flush=True)
        return held

    def equal(self, what, got, wanted):
        return self.check(what, got == wanted, "" if got == wanted else f"got {got!r}, wanted {wanted!r}")

    @contextmanager
    def refused(self, what, error, containing=""):
        """The block has to raise `error`, with `containing` in its words."""
        try:
            yield
        except error as caught:
            self.check(what, containing in str(caught), str(caught).replace("\n", " ")[:160])
        else:
            self.check(what, False, "it was accepted")

    def add(self, text):
        """Take over the lines of a judge that ran as a process of its own."""
        for line in text.splitlines():
            if line.startswith("ok  "):
                self.passed += 1
            elif line.startswith("FAIL"):
                self.failed += 1
            print(line, flush=True)

    def add_junit(self, report):
        """Take over a report in JUnit's format, and answer how many tests are in it. One that was skipped has failed."""
        cases = list(ElementTree.parse(report).iter("testcase"))
        for case in cases:
            bad = [child.get("message", "") for child in case if child.tag in ("failure", "error", "skipped")]
            words = bad[0][:160].replace("\n", " ") if bad else ""
            self.check(f"{case.get('classname')}: {case.get('name')}", not bad, words)
        return len(cases)

    def finish(self):
        if self.passed + self.failed == 0:
            self.check("the judge checked something", False)
        print(f"judge {self.name}: {self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed else 0)


class Answer:
    """An HTTP answer, whatever its status; redirects are not followed."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args, **_kwargs):
        return None


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects)


def http(method, url, headers=None, form=None, body=None, timeout=10):
    """One plain request without any OAuth library between us and the wire."""
    headers = dict(headers or {})
    if form is not None:
        body = urllib.parse.urlencode(form).encode()
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    try:
        with _opener.open(request, timeout=timeout) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as answer:
        return Answer(answer.code, answer.headers, answer.read())


def token(scene, client, resource, scope=None, tenant=None):
    """An access token for a client with a Basic secret; for judges of tokens, not of clients."""
    place = scene["tenants"][tenant] if tenant else scene
    party = place["clients"][client]
    basic = base64.b64encode(f"{party['client_id']}:{party['client_secret']}".encode()).decode()
    form = {"grant_type": "client_credentials", "resource": place["resources"][resource]["resource"]}
    if scope is not None:
        form["scope"] = scope
    answer = http("POST", f"{place['issuer']}/token", {"Authorization": f"Basic {basic}"}, form)
    if answer.status != 200:
        raise RuntimeError(f"token request answered {answer.status}: {answer.body[:300]!r}")
    return answer.json()["access_token"]


def claims(access_token, part=1):
    """The claims (or, with part 0, the header) of a token, unverified, for looking at."""
    segment = access_token.split(".")[part]
    return json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))


@contextmanager
def background(arguments, ready_url, log):
    """A server in the background, answering at `ready_url` before the block starts."""
    with open(log, "wb") as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 30
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"{arguments} ended with {process.returncode}:\n{Path(log).read_text()[-2000:]}")
            try:
                http("GET", ready_url)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{arguments} did not answer at {ready_url}") from None
                time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def demo_server(stage):
    """The two servers of `writ demo`: an rmcp server behind Writ's own layer, and a Writ for it."""
    with open(Path(stage["directory"]) / "demo.log", "wb") as log:
        process = subprocess.Popen([stage["binary"], "demo", "--serve", "--json"], stdout=subprocess.PIPE, stderr=log)
    try:
        said = json.loads(process.stdout.readline())
        administrator = json.loads(Path(said["admin_credentials"]).read_text())
        yield {
            "issuer": said["issuer"],
            "clients": {"agent": said, "administrator": administrator},
            "resources": {"notes": {"resource": said["mcp_server"]}, "admin": {"resource": administrator["resource"]}},
        }
    finally:
        process.terminate()
        process.wait(15)
