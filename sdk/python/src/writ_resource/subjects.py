"""Which tokens a security event is about (RFC 9493, SSF 1.0)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from .claims import AccessClaims
from .errors import SetError


@dataclass(frozen=True)
class Selector:
    """Tokens for which all members that are not None hold; without any, every token of the issuer."""

    user: str | None = None
    client: str | None = None
    session: tuple[str, str] | None = None
    """(`jti`, …) for one token, (`grant_id`, …) for all tokens of a grant."""


@dataclass(frozen=True)
class Subject:
    """What a `sub_id` means here."""

    selector: Selector | None
    """None when it selects none of the issuer's tokens, or `unmapped`."""
    unmapped: tuple[str, ...] = ()
    """Members that say nothing here. Without them the selector is wider than what was meant."""
    critical: bool = False
    """Whether one of those must be understood, so that the event has to be discarded."""


class _ElsewhereError(Exception):
    """The subject is of another issuer."""


def read_subject(sub_id: Any, issuer: str, critical: Collection[str] = ()) -> Subject:
    """Maps a `sub_id`; `SetError` when it is not a subject identifier at all."""
    named = _format(sub_id)
    if named == "aliases":
        members = _alias(sub_id.get("identifiers"), issuer)
    elif named != "complex":
        members = {_place(sub_id): sub_id}
    else:
        members = {name: value for name, value in sub_id.items() if name != "format"}
        if not members or any(_format(member) in ("complex", "aliases") for member in members.values()):
            raise SetError("invalid_request", "sub_id: complex needs members, and each is a simple identifier")
    found: dict[str, Any] = {}
    unmapped = []
    try:
        for name, member in members.items():
            mapped = _map(name, member, issuer)
            if mapped is None:
                unmapped.append(name)
            else:
                found.update(mapped)
    except _ElsewhereError:
        return Subject(None)
    is_critical = any(name in critical for name in unmapped)
    nothing = len(unmapped) == len(members)
    return Subject(None if nothing else Selector(**found), tuple(unmapped), is_critical)


def selectors_of(claims: AccessClaims, issuer: str) -> Iterator[Selector]:
    """Every selector that selects a token with these claims; a dozen, unless many actors are in it."""
    clients: list[str | None] = [None, claims.client_id]
    clients += [actor.sub for actor in claims.actors if actor.iss in (None, issuer)]
    sessions: list[tuple[str, str] | None] = [None, ("jti", claims.jti)]
    if claims.grant_id is not None:
        sessions.append(("grant_id", claims.grant_id))
    for user, client, session in product((None, claims.sub), dict.fromkeys(clients), sessions):
        yield Selector(user, client, session)


def _format(identifier: Any) -> str:
    named = identifier.get("format") if isinstance(identifier, dict) else None
    if not isinstance(named, str):
        raise SetError("invalid_request", "sub_id: a subject identifier is an object with a format (RFC 9493 §3)")
    return named


def _place(simple: Mapping[str, Any]) -> str:
    """Which member of a complex subject a simple one stands for."""
    named = _format(simple)
    return {"iss_sub": "user", "jwt_id": "session"}.get(named, named)


def _alias(names: Any, issuer: str) -> dict[str, Any]:
    """Of several names for one subject (RFC 9493 §3.2.8) the one that says most here."""
    if not isinstance(names, list) or not names or any(_format(name) in ("complex", "aliases") for name in names):
        raise SetError("invalid_request", "sub_id: aliases needs identifiers, and each is a simple one")
    with_issuer = [name for name in names if _place(name) in ("user", "session")]
    best = next((name for name in with_issuer if name.get("iss") == issuer), (with_issuer or names)[0])
    return {_place(best): best}


def _map(name: str, member: Any, issuer: str) -> dict[str, Any] | None:
    """What a member selects by; None when it says nothing here."""
    kind = (name, _format(member))
    if kind in (("user", "iss_sub"), ("application", "iss_sub")):
        place = "user" if name == "user" else "client"
        return {place: _of_issuer(member, "sub", issuer)}
    if kind == ("session", "jwt_id"):
        return {"session": ("jti", _of_issuer(member, "jti", issuer))}
    if kind == ("session", "opaque"):
        return {"session": ("grant_id", _text(member, "id"))}
    if kind == ("tenant", "opaque"):
        # One issuer is one tenant: all of its tokens are meant.
        _text(member, "id")
        return {}
    return None


def _of_issuer(member: Mapping[str, Any], name: str, issuer: str) -> str:
    value = _text(member, name)
    if _text(member, "iss") != issuer:
        raise _ElsewhereError
    return value


def _text(member: Mapping[str, Any], name: str) -> str:
    value = member.get(name)
    if not isinstance(value, str) or not value:
        raise SetError("invalid_request", f"sub_id: {member['format']} needs {name}")
    return value
