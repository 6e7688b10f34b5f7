"""An attacker that does nothing wrong but in the wrong order: valid operations over all three transports.

The law of this file: gids are few, so that operations meet; participants misbehave, so that the engine works.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import grpc

from tests.compat.dtm import API
from tests.compat.grpc_side import GrpcDtm, branch_request_of, request_of
from tests.fuzz.judge import wrong_with_grpc
from tests.fuzz.scene import RPC, Scene

GIDS = 40
"""So many are in use at a time; a new one takes the place of an old one now and then."""
NEW_GID_CHANCE = 0.1

Fields = dict[str, Any]


class Life:
    """One life of an attacker: the gids it uses."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.dice = scene.dice
        self._count = 0
        self._gids: list[str] = []

    def gid(self) -> str:
        """One of few gids."""
        if len(self._gids) < GIDS or self.dice.random() < NEW_GID_CHANCE:
            self._count += 1
            self._gids = [*self._gids[-GIDS + 1 :], f"life-{self.scene.number}-{self._count}"]
        return self.dice.choice(self._gids)

    def url(self) -> str:
        """A participant's URL."""
        path = f"/p{self.dice.randrange(5)}"
        kind = self.dice.randrange(10)
        if kind == 0:
            return f"{self.scene.participants.grpc}/busi.Busi/Try"
        if kind == 1:  # a port that speaks no HTTP/2
            return f"{self.scene.participants.url.removeprefix('http://')}/busi.Busi/Try"
        return f"{self.scene.participants.url}{path}"

    def options(self) -> Fields:
        """Options that make things go fast."""
        return {
            "request_timeout": self.dice.choice((1, 1, 2)),
            "retry_interval": 1,
            "timeout_to_fail": self.dice.choice((1, 3, 10)),
            "wait_result": self.dice.random() < 0.1,
            "protocol": self.dice.choice(("http", "http", "json-rpc", "grpc")),
        }

    def order(self) -> Fields:
        """A transaction of any pattern."""
        pattern = self.dice.choice(("saga", "saga", "saga", "msg", "tcc", "xa", "workflow"))
        order: Fields = {"gid": self.gid(), "trans_type": pattern, **self.options(), "query_prepared": self.url()}
        count = self.dice.randrange(4)
        if pattern in ("saga", "msg"):
            order["steps"] = [{"action": self.url(), "compensate": self.url()} for _ in range(count)]
            order["payloads"] = ['{"a":1}'] * count
        if pattern == "saga" and self.dice.random() < 0.3:
            order["concurrent"] = True
            order["custom_data"] = json.dumps({"concurrent": True, "orders": {"1": [0]} if count > 1 else {}})
        if pattern == "workflow":
            order["custom_data"] = json.dumps({"name": "w", "data": ""})
            order["req_extra"] = self.dice.choice(({}, {"status": "succeed"}, {"status": "failed"}))
        return order

    def branch(self) -> Fields:
        """A branch of a tcc, an xa or a workflow."""
        return {
            "gid": self.gid(),
            "trans_type": self.dice.choice(("tcc", "tcc", "xa", "workflow")),
            "branch_id": f"{self.dice.randrange(20):02d}",
            "data": '{"a":1}',
            "confirm": self.url(),
            "cancel": self.url(),
            "url": self.url(),
            "op": self.dice.choice(("action", "commit", "rollback")),
            "status": self.dice.choice(("succeed", "failed")),
        }

    async def tell(self, operation: str, fields: Fields) -> None:
        """Over one of the three transports."""
        scene, body = self.scene, json.dumps(fields).encode()
        kind = self.dice.randrange(3)
        if kind == 0:
            call = {"jsonrpc": "2.0", "id": "1", "method": operation, "params": fields}
            await scene.ask("POST", RPC, json.dumps(call).encode())
        elif kind == 1:
            message = branch_request_of(fields) if operation == "registerBranch" else request_of(fields)
            method = operation[0].upper() + operation[1:]
            ended = await GrpcDtm(scene.dtm.grpc).call(method, message)
            scene.book.note(scene.name, ended.code)
            if wrong := wrong_with_grpc(grpc.StatusCode[ended.code], ended.details):
                scene.book.find(wrong, f"{operation}: {ended.code} {ended.details}", body)
        else:
            await scene.ask("POST", f"{API}/{operation}", body)

    async def look(self) -> None:
        """What nothing changes, or only when something happens."""
        gid = self.gid()
        one = json.dumps({"gid": gid}).encode()
        asked: Mapping[int, tuple[str, str, bytes]] = {
            0: ("GET", f"{API}/query?gid={gid}", b""),
            1: ("GET", f"{API}/all?limit=20&status=submitted", b""),
            2: ("POST", f"{API}/forceStop", one),
            3: ("POST", f"{API}/resetNextCronTime", one),
            4: ("GET", f"{API}/resetCronTime?timeout=1&limit=5", b""),
            5: ("GET", "/api/metrics", b""),
            6: ("GET", f"{API}/subscribe?topic=t{self.dice.randrange(3)}&url={self.dice.randrange(9)}", b""),
            7: ("GET", f"{API}/unsubscribe?topic=t{self.dice.randrange(3)}&url={self.dice.randrange(9)}", b""),
        }
        await self.scene.ask(*asked[self.dice.randrange(len(asked))])


async def attack_life(scene: Scene) -> None:
    """Valid operations in any order, until cancelled."""
    life = Life(scene)
    made: Mapping[str, Callable[[], Fields]] = {
        "prepare": life.order,
        "submit": life.order,
        "abort": life.order,
        "registerBranch": life.branch,
    }
    while True:
        if scene.dice.random() < 0.3:
            await life.look()
        else:
            operation = scene.dice.choice(list(made))
            await life.tell(operation, made[operation]())
