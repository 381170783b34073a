"""A person without a browser: keeps cookies, follows redirects, and sends the first form of each page with its first button.

    python user_agent.py URL [--as NAME] [--only SCOPE...] [--deny] [--go]

Prints the URL that the answer goes to; with `--go` it goes there too. No page may need JavaScript.
The standard library is all it needs.
"""

import argparse
import json
import os
import sys
import urllib.error
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode, urljoin, urlsplit
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, ProxyHandler, Request, build_opener

PATIENCE = 20  # redirects and forms until something is wrong


class Lost(Exception):
    """A page that it cannot go on from."""


class Forms(HTMLParser):
    """The forms of a page: where they go, their fields and their buttons."""

    def __init__(self, text):
        super().__init__()
        self.forms, self.error = [], None
        self._in_error = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self._in_error = given.get("id") == "error"
        if tag == "form":
            self.forms.append({"action": given.get("action", ""), "method": given.get("method", "get").lower(),
                               "fields": [], "buttons": []})
        elif self.forms and tag == "button":
            self.forms[-1]["buttons"].append(given)
        elif self.forms and tag == "input":
            self.forms[-1]["fields"].append(given)

    def handle_data(self, data):
        if self._in_error:
            self.error, self._in_error = data.strip(), False


class Answer:
    """A response, read."""

    def __init__(self, response):
        with response:
            self.url, self.status_code, self.text = response.url, response.status, response.read().decode()
            self.location = response.headers.get("Location") if 300 <= response.status < 400 else None


class NoRedirects(HTTPRedirectHandler):
    """Where a redirect goes is looked at first."""

    def redirect_request(self, *_):
        return None


class UserAgent:
    """One browser of one person. `only` are the scopes they let a client have; None: all that are asked for."""

    def __init__(self, issuer, person, only=None, deny=False):
        self.issuer, self.person, self.only, self.deny = issuer, person, only, deny
        self.cookies = CookieJar()
        self.opener = build_opener(ProxyHandler({}), HTTPCookieProcessor(self.cookies), NoRedirects)
        self.pages = []  # the paths of the pages it saw

    def visit(self, url, go=False):
        """Opens `url`; the URL outside the issuer that it leads to."""
        answer = self._get(url)
        for _ in range(PATIENCE):
            if answer.location:
                where = urljoin(answer.url, answer.location)
                if self._is_outside(where):
                    return self._leave(where, go)
                answer = self._get(where)
                continue
            page = Forms(answer.text)
            if answer.status_code >= 400 or not page.forms:
                raise Lost(f"{answer.status_code} {page.error} at {answer.url}: {answer.text[:500]}")
            self.pages.append(urlsplit(answer.url).path)
            answer = self._send(answer.url, page.forms[0])
        raise Lost(f"no end after {PATIENCE} steps, at {answer.url}")

    def _leave(self, where, go):
        if go:
            self._get(where)
        return where

    def _is_outside(self, url):
        return urlsplit(url)[:2] != urlsplit(self.issuer)[:2]

    def _get(self, url, body=None, **headers):
        request = Request(url, body, {"Accept": "text/html"} | headers)
        try:
            return Answer(self.opener.open(request, timeout=20))
        except urllib.error.HTTPError as answer:  # all but 2xx
            return Answer(answer)

    def _send(self, at, form):
        data = [(field["name"], value) for field in form["fields"] if (value := self._value(field)) is not None]
        button = form["buttons"][1 if self.deny and len(form["buttons"]) > 1 else 0]
        if "name" in button:
            data.append((button["name"], button.get("value", "")))
        origin, where = "{0}://{1}".format(*urlsplit(at)[:2]), urljoin(at, form["action"])
        if form["method"] == "get":
            return self._get(f"{where}?{urlencode(data)}", Origin=origin)
        return self._get(where, urlencode(data).encode(), Origin=origin)

    def _value(self, field):
        if "name" not in field or "disabled" in field:
            return None
        if field.get("type") == "checkbox":
            value = field.get("value", "on")
            wanted = "checked" in field if self.only is None else value in self.only
            return value if wanted else None
        known = {"login-username": "username", "login-password": "password"}.get(field.get("id"))
        return self.person[known] if known else field.get("value", "")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--as", dest="who", default="alice")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--deny", action="store_true")
    parser.add_argument("--go", action="store_true")
    asked = parser.parse_args()
    stage = json.loads(Path(os.environ["SCENE"]).read_text())
    agent = UserAgent(stage["issuer"], stage["people"][asked.who], asked.only, asked.deny)
    try:
        print(agent.visit(asked.url, asked.go))
    except Lost as lost:
        sys.exit(f"the user agent is lost: {lost}")


if __name__ == "__main__":
    main()
