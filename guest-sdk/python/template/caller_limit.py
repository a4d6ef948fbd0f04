"""Each caller, named by a header, may do so many requests; one who insists is blocked for a while."""

import json
from dataclasses import dataclass
from typing import Optional

from componentize_py_types import Err
from sdk.veilgate import Refused, go_on, integer, number, refuse, text
from wit_world import exports
from wit_world.imports import request
from wit_world.imports.kv import Store
from wit_world.imports.limits import Algorithm, Limiter, Spec
from wit_world.imports.types import Decision

# How long a refusal counts against its caller, in milliseconds.
REMEMBERED = 600_000


# A policy keeps its configuration and nothing else: what must last is in the limiter and the store, which all instances share.
@dataclass
class Configured:
    header: str
    strikes: int
    limiter: Limiter
    refusals: Store


configured: Optional[Configured] = None


class Lifecycle(exports.Lifecycle):
    def configure(self, config: str) -> None:
        """Err refuses the configuration with its text: `veilgate check` shows it."""
        global configured
        try:
            given = json.loads(config)
            limit = integer(given, "limit")
            spec = Spec(Algorithm.GCRA, limit, integer(given, "seconds") * 1000, limit)
            configured = Configured(
                header=text(given, "header"),
                strikes=integer(given, "strikes"),
                limiter=Limiter.define("calls", spec),
                refusals=Store.open("refusals"),
            )
        except Refused as problem:
            raise Err(str(problem))


class RequestHook(exports.RequestHook):
    def on_request(self) -> Decision:
        caller = request.header(configured.header)
        if not caller:
            return refuse(401, "no-caller", f"say who you are: {configured.header}\n")
        key = f"{request.header('x-tenant') or 'default'}/{caller}"
        if number(configured.refusals.get(key)) >= configured.strikes:
            return refuse(403, "blocked", "blocked: too many requests over the limit\n")
        verdict = configured.limiter.take(key, 1)
        if not verdict.allowed:
            configured.refusals.incr(key, 1, REMEMBERED)
            seconds = (verdict.retry_after + 999) // 1000
            return refuse(429, "over-limit", "over the limit\n", [("retry-after", str(seconds))])
        request.set_header("x-caller", key)
        return go_on([("x-remaining", str(verdict.remaining))])
