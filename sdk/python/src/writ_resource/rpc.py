"""Reads a JSON-RPC body just far enough to know what it asks for.

Whatever another reader could understand differently is refused: the decision must be about exactly what the
server will see.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .strict import RepeatedMember, read_json

MAX_BATCH = 64
MAX_TOOL_NAME = 128
"""Characters (MCP allows 128): a challenge repeats every name, and must fit a header."""

_MEMBERS = frozenset(("jsonrpc", "id", "method", "params", "result", "error"))
_PARAMS = frozenset(("name", "uri"))


@dataclass(frozen=True)
class Call:
    """What one message asks for: a tool, another method, or nothing (a response)."""

    tool: str | None = None
    method: str | None = None


class RpcError(Exception):
    """Why a body was refused (JSON-RPC 2.0 §5.1)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def read_calls(body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> list[Call]:
    """The calls in a body: one message, or a batch of them."""
    try:
        document = read_json(body)
        body.decode()
    except RepeatedMember:
        raise _invalid("each message is one object whose members are not repeated") from None
    except ValueError:
        raise RpcError(-32700, "Parse error") from None
    messages = document if isinstance(document, list) else [document]
    if not messages:
        raise _invalid("the batch is empty")
    if len(messages) > MAX_BATCH:
        raise _invalid("a batch has at most 64 messages")
    said = [(name.lower(), value) for name, value in headers]
    return [_call(message, said) for message in messages]


def _call(message: Any, headers: list[tuple[bytes, bytes]]) -> Call:
    if not isinstance(message, dict):
        raise _invalid("each message is one object whose members are not repeated")
    _exact(message, _MEMBERS)
    params = message.get("params")
    if isinstance(params, dict):
        _exact(params, _PARAMS)
    elif params is not None and not isinstance(params, list):
        raise _invalid("params is an object")
    named = params if isinstance(params, dict) else {}
    method, answers = message.get("method"), "result" in message or "error" in message
    if "method" in message and not isinstance(method, str):
        raise _invalid("method is a string")
    _agree(headers, method, named)
    if method is None:
        if not answers:
            raise _invalid("there is no method")
        return Call()
    if answers:
        raise _invalid("a message is a request or a response, not both")
    if method == "tools/call":
        return Call(tool=_tool(named.get("name")), method=method)
    # Some reader may fold case or trim; then this would be a tool call.
    if method.strip().lower() == "tools/call":
        raise _invalid("the method is tools/call, exactly")
    return Call(method=method)


def _tool(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise _invalid("tools/call needs params.name")
    if len(name) > MAX_TOOL_NAME:
        raise _invalid("the name of a tool has at most 128 characters")
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise _invalid("the name of a tool is not Unicode text")
    return name


def _exact(members: dict[str, Any], known: frozenset[str]) -> None:
    if any(name not in known and name.lower() in known for name in members):
        raise _invalid("a member name in another letter case")


def _agree(headers: list[tuple[bytes, bytes]], method: str | None, params: dict[str, Any]) -> None:
    """Newer revisions of MCP repeat method and name in headers. The body decides, and they may not differ."""
    subject = params.get("uri") if method == "resources/read" else params.get("name")
    for name, value in headers:
        if name == b"mcp-method" and _octets(method) != value:
            raise _invalid("Mcp-Method or Mcp-Name contradicts the body")
        about = method in ("tools/call", "prompts/get", "resources/read")
        if name == b"mcp-name" and about and _octets(subject) != _header_octets(value):
            raise _invalid("Mcp-Method or Mcp-Name contradicts the body")


def _octets(text: Any) -> bytes | None:
    return text.encode(errors="surrogatepass") if isinstance(text, str) else None


def _header_octets(value: bytes) -> bytes:
    """Values that do not fit a header are written `=?base64?…?=`."""
    if value.startswith(b"=?base64?") and value.endswith(b"?="):
        try:
            return base64.b64decode(value[9:-2], validate=True)
        except binascii.Error:
            raise _invalid("Mcp-Method or Mcp-Name contradicts the body") from None
    return value


def _invalid(why: str) -> RpcError:
    return RpcError(-32600, f"Invalid request: {why}")
