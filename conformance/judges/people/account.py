"""Accounts of people."""

from dataclasses import dataclass

import requests
from user_agent import Forms


@dataclass
class Person:
    username: str
    email: str
    password: str


def add(person, issuer):
    """Makes an account at the sign-up page."""
    with requests.Session() as browser:
        browser.trust_env = False
        page = browser.get(f"{issuer}/signup", timeout=20)
        hidden = {f["name"]: f.get("value", "") for f in Forms(page.text).forms[0]["fields"] if f.get("type") == "hidden"}
        form = hidden | {"username": person.username, "email": person.email, "password": person.password}
        answer = browser.post(f"{issuer}/signup", data=form, headers={"Origin": issuer}, allow_redirects=False, timeout=20)
        if answer.status_code != 303:
            raise RuntimeError(f"no account for {person.username}: {answer.status_code} {answer.text[:500]}")
