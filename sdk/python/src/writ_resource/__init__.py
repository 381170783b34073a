"""Protects an MCP server: verifies access tokens, asks a scope per tool, refuses what was revoked.

`Protect` wraps an ASGI application; `Verifier` decides about tokens; `Events` has it hear of revocations.
`writ_resource.mcp` and `writ_resource.fastmcp` hold token verifiers for those two SDKs.
"""

from .claims import AccessClaims, Actor
from .errors import SetError, SetupError, UnavailableError, VerifyError
from .events import Events, Receiver, Status
from .introspection import Introspect
from .protect import Protect, current_claims
from .scopes import require_tool, tool_scope
from .sets import SecurityEvent
from .stream import Push
from .verifier import Verifier

__all__ = [
    "AccessClaims",
    "Actor",
    "Events",
    "Introspect",
    "Protect",
    "Push",
    "Receiver",
    "SecurityEvent",
    "SetError",
    "SetupError",
    "Status",
    "UnavailableError",
    "Verifier",
    "VerifyError",
    "current_claims",
    "require_tool",
    "tool_scope",
]
