"""Refuses requests that do not say for which tenant: one header, read."""

from wit_world import exports
from wit_world.imports import request
from wit_world.imports.types import BodyNeed, Decision, LocalResponse


class Lifecycle(exports.Lifecycle):
    def configure(self, config: str) -> None:
        pass


class RequestHook(exports.RequestHook):
    def on_request(self) -> Decision:
        refused = None
        if not request.header("x-tenant"):
            refused = LocalResponse(status=400, headers=[], body=b"")
        return Decision(
            respond=refused, route=None, body=BodyNeed.NONE, defer=False, done=True, reason=None, response_headers=[]
        )
