"""Lets every request pass: what a call costs by itself."""

from wit_world import exports
from wit_world.imports.types import BodyNeed, Decision


class Lifecycle(exports.Lifecycle):
    def configure(self, config: str) -> None:
        pass


class RequestHook(exports.RequestHook):
    def on_request(self) -> Decision:
        return Decision(
            respond=None, route=None, body=BodyNeed.NONE, defer=False, done=True, reason=None, response_headers=[]
        )
