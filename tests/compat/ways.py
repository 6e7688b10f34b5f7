"""The three ways to say the same to a DTM server: HTTP, JSON-RPC and gRPC, each with DTM's own words for an outcome."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

from tests.compat.dtm import Dtm
from tests.compat.grpc_side import GrpcDtm, branch_request_of, request_of

Kind = Literal["success", "failure", "ongoing", "error"]

HTTP_KINDS: dict[int, Kind] = {200: "success", 409: "failure", 425: "ongoing", 500: "error"}
GRPC_KINDS: dict[str, Kind] = {
    "OK": "success",
    "ABORTED": "failure",
    "FAILED_PRECONDITION": "ongoing",
    "INTERNAL": "error",
    "UNKNOWN": "error",
}


@dataclass(frozen=True, slots=True)
class Told:
    """What the server answered: the kind of outcome, and the text that goes with it."""

    kind: Kind
    message: str = ""


OK = Told("success")


@dataclass(frozen=True, slots=True)
class Way(ABC):
    """One way to speak to ``dtm``; operations are named as HTTP names them."""

    dtm: Dtm

    @abstractmethod
    async def say(self, operation: str, request: dict[str, Any]) -> Told:
        """Ask for prepare, submit, abort, or registerBranch."""

    async def submit(self, request: dict[str, Any]) -> Told:
        """Submit a transaction."""
        return await self.say("submit", request)

    async def prepare(self, request: dict[str, Any]) -> Told:
        """Prepare a transaction."""
        return await self.say("prepare", request)

    async def abort(self, request: dict[str, Any]) -> Told:
        """Abort a transaction."""
        return await self.say("abort", request)

    async def register(self, branch: dict[str, str]) -> Told:
        """Register a branch."""
        return await self.say("registerBranch", branch)


class HttpWay(Way):
    """DTM's REST API."""

    async def say(self, operation: str, request: dict[str, Any]) -> Told:
        answer = await self.dtm.post(operation, request)
        return Told(HTTP_KINDS[answer.status], answer.json.get("message", ""))


class JsonRpcWay(Way):
    """DTM's JSON-RPC API: an outcome that is not final has no code of its own there (spec 2.6)."""

    async def say(self, operation: str, request: dict[str, Any]) -> Told:
        answer = await self.dtm.json_rpc(operation, request)
        assert answer.status == 200, answer
        error = answer.json["error"]
        if error is None:
            return OK
        if error["code"] == -32901:
            return Told("failure", error["message"])
        assert error["code"] == -32603, error
        return Told("ongoing" if error["message"] == "ONGOING" else "error", error["message"])


class GrpcWay(Way):
    """DTM's gRPC API."""

    async def say(self, operation: str, request: dict[str, Any]) -> Told:
        method = operation[0].upper() + operation[1:]
        message = branch_request_of(request) if method == "RegisterBranch" else request_of(request)
        ended = await GrpcDtm(self.dtm.grpc).call(method, message)
        return Told(GRPC_KINDS[ended.code], ended.details)


WAYS: dict[str, type[Way]] = {"http": HttpWay, "json-rpc": JsonRpcWay, "grpc": GrpcWay}
