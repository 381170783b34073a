"""Which scope an operation needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .claims import AccessClaims
from .errors import SetupError, VerifyError
from .rpc import Call

_UNWRITABLE = frozenset('"\\')


def tool_scope(name: str) -> str:
    """The scope that allows calling the tool of this name: `tool:` and the name.

    Octets that a scope cannot hold (RFC 6749 §3.3), and `%`, are percent-encoded, so that no two tools share one.
    """
    return "tool:" + "".join(
        chr(octet) if _is_scope_octet(octet) and octet != 0x25 else f"%{octet:02X}" for octet in name.encode()
    )


def require_tool(claims: AccessClaims, name: str) -> None:
    """For a tool that is called in another way than `tools/call`: `VerifyError` without its scope."""
    if not claims.has_scope(tool_scope(name)):
        raise VerifyError(f"insufficient_scope: {tool_scope(name)}")


def checked_scope(scope: str) -> str:
    """A scope of this resource that may be asked for and announced."""
    if scope == "offline_access":
        raise SetupError('scope "offline_access": a resource neither needs nor announces it')
    if not scope or not scope.isascii() or not all(_is_scope_octet(octet) for octet in scope.encode()):
        raise SetupError(
            f"scope {scope!r}: only printable ASCII without spaces, quotation marks and backslashes is allowed"
        )
    return scope


def _is_scope_octet(octet: int) -> bool:
    return 0x21 <= octet <= 0x7E and chr(octet) not in _UNWRITABLE


class Policy:
    """What the author declared."""

    def __init__(
        self,
        tools: Iterable[str] | Mapping[str, str],
        methods: Mapping[str, str],
        includes: Mapping[str, Iterable[str]],
    ) -> None:
        self._tools = dict(tools) if isinstance(tools, Mapping) else {name: tool_scope(name) for name in tools}
        self._methods = dict(methods)
        self._includes = {wide: set(narrow) for wide, narrow in includes.items()}
        for scope in self.announced:
            checked_scope(scope)

    @property
    def announced(self) -> set[str]:
        """Every scope that was declared."""
        narrow = set[str]().union(*self._includes.values())
        return {*self._tools.values(), *self._methods.values(), *self._includes, *narrow}

    def missing(self, claims: AccessClaims, calls: Iterable[Call]) -> list[str]:
        """Everything these calls need, when the token does not allow all of it."""
        needed = {scope for call in calls if (scope := self._needed(call)) is not None}
        return [] if needed <= self._held(claims) else sorted(needed)

    def _needed(self, call: Call) -> str | None:
        if call.tool is not None:
            return self._tools.get(call.tool) or tool_scope(call.tool)
        return self._methods.get(call.method) if call.method is not None else None

    def _held(self, claims: AccessClaims) -> set[str]:
        held, fresh = set[str](), set(claims.scopes)
        while fresh:
            held |= fresh
            fresh = set[str]().union(*(self._includes.get(scope, ()) for scope in fresh)) - held
        return held
