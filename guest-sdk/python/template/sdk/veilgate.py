"""Settings and decisions. Everything else is in the generated package wit_world."""

from typing import Any, List, Optional, Tuple

from wit_world.imports.kv import Entry
from wit_world.imports.types import BodyNeed, Decision, LocalResponse

Fields = List[Tuple[str, str]]


class Refused(Exception):
    """A setting that cannot be used."""


def text(config: Any, key: str) -> str:
    """The setting `key`, a text that is not empty."""
    value = config.get(key)
    if not isinstance(value, str) or not value:
        raise Refused(f"`{key}` must be a text")
    return value


def integer(config: Any, key: str) -> int:
    """The setting `key`, a whole number above zero."""
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise Refused(f"`{key}` must be a whole number above zero")
    return value


def number(entry: Optional[Entry]) -> int:
    """The number that a counter's entry in a store holds; 0 if there is none."""
    return int(entry.value) if entry else 0


def go_on(response_headers: Optional[Fields] = None) -> Decision:
    """Goes on; this policy needs no later hook. The headers are set on whatever response the client gets."""
    return Decision(
        respond=None,
        route=None,
        body=BodyNeed.NONE,
        defer=False,
        done=True,
        reason=None,
        response_headers=response_headers or [],
    )


def refuse(status: int, reason: str, message: str, headers: Optional[Fields] = None) -> Decision:
    """Answers the request. `reason`, a constant, stands in the access log and in the metrics."""
    decision = go_on()
    fields = [("content-type", "text/plain; charset=utf-8"), *(headers or [])]
    decision.respond = LocalResponse(status=status, headers=fields, body=message.encode())
    decision.reason = reason
    return decision
