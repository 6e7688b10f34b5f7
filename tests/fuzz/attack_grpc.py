"""Attackers on the gRPC port: frames that are wrong, and calls with nonsense in them, cancelled and never ended."""

from __future__ import annotations

import threading
from contextlib import suppress
from random import Random
from typing import Any

import grpc
import trio

from tests.compat.grpc_side import branch_request_of, request_of
from tests.fuzz import nonsense
from tests.fuzz.frames import METHODS, h2_bytes
from tests.fuzz.judge import wrong_with_grpc
from tests.fuzz.scene import LOST, Scene

READ_MAX_S = 0.5
CALL_MAX_S = 20.0
SERVICE = "/dtmgimp.Dtm/"
OTHERS = (
    *("/dtmgimp.Dtm/Nothing", "/", "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch", "/a/b/c"),
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)


async def attack_frames(scene: Scene) -> None:
    """Connections over which nonsense comes, until cancelled."""
    dice = scene.dice
    host, _, port = scene.dtm.grpc.rpartition(":")
    while True:
        said = h2_bytes(dice) if dice.random() < 0.9 else dice.randbytes(200)
        if dice.random() < 0.4:
            said = nonsense.spoilt(dice, said)
        received = b""
        with suppress(*LOST):
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                await stream.send_all(said)
                if dice.random() < 0.5:
                    with trio.move_on_after(READ_MAX_S):
                        async for part in stream:
                            received += part
        scene.book.note(scene.name, "something" if received else "nothing")


async def attack_grpc(scene: Scene) -> None:
    """Calls with nonsense in them, until cancelled."""
    with grpc.insecure_channel(scene.dtm.grpc, options=[("grpc.max_send_message_length", -1)]) as channel:
        while True:
            # The dice are thrown here, so that a seed gives the same calls again. A call may last long: when it is
            # abandoned here, it ends with its channel.
            method, body, metadata, seconds, cancel_after_s = drawn(scene.dice)
            code, details = await trio.to_thread.run_sync(
                _call, channel, method, body, metadata, seconds, cancel_after_s, abandon_on_cancel=True
            )
            scene.book.note(scene.name, code.name)
            if wrong := wrong_with_grpc(code, details):
                scene.book.find(wrong, f"{method} {metadata} {seconds} s: {code} {details}", body)


Metadata = tuple[tuple[str, str | bytes], ...]


def drawn(dice: Random) -> tuple[str, bytes, Metadata, float, float | None]:
    """A call: method, message, metadata, deadline, and when to cancel it."""
    method = dice.choice(OTHERS) if dice.random() < 0.15 else SERVICE + dice.choice(METHODS)
    metadata: Metadata = tuple(
        dice.choice((("traceparent", "00-nonsense"), ("x-bin", b"\xff\x00"), ("x", "y" * 3000), ("dtm-gid", "")))
        for _ in range(dice.randrange(3))
    )
    seconds = dice.choice((CALL_MAX_S, CALL_MAX_S, CALL_MAX_S, 0.001, 0.01))
    return method, message(dice), metadata, seconds, dice.choice((None, None, None, 0.0, 0.005))


def message(dice: Random) -> bytes:
    """A message that nearly is one of DTM's."""
    kind = dice.randrange(6)
    if kind == 0:
        return dice.randbytes(dice.randrange(300))
    if kind == 1:
        return b"\x0a" + b"\xff" * 9 + b"\x01" if dice.random() < 0.5 else bytes(dice.choice((1_000, 17_000_000)))
    texts = [each for each in nonsense.TEXTS if each != "\ud800"]
    gid, pattern = f"n-{dice.randrange(200)}", dice.choice(nonsense.TYPES)
    made: Any
    if kind == 2:
        branch = {"gid": gid, "trans_type": pattern, "branch_id": dice.choice(texts), "data": dice.choice(texts)}
        made = branch_request_of({**branch, "url": dice.choice(texts), "op": dice.choice(texts)})
    else:
        fields = {
            "gid": gid,
            "trans_type": pattern,
            "payloads": [dice.choice(texts) for _ in range(dice.randrange(3))],
            "custom_data": dice.choice(texts),
            "steps": [{dice.choice(texts): dice.choice(texts)} for _ in range(dice.randrange(3))],
            "timeout_to_fail": dice.choice((0, -1, 1, 2**62)),
            "retry_interval": dice.choice((0, -1, 1, 2**62)),
            "wait_result": dice.random() < 0.1,
        }
        made = request_of(fields)
        made.Steps = dice.choice((str(fields["steps"]), nonsense.value(dice).replace("\ud800", "")))
    serialized: bytes = made.SerializeToString()
    return nonsense.spoilt(dice, serialized) if dice.random() < 0.3 else serialized


def _call(
    channel: grpc.Channel, method: str, body: bytes, metadata: Metadata, seconds: float, cancel_after_s: float | None
) -> tuple[grpc.StatusCode, str]:
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
    future = call.future(body, timeout=seconds, metadata=metadata)
    if cancel_after_s is not None:
        threading.Timer(cancel_after_s, future.cancel).start()
    try:
        future.exception()
    except grpc.FutureCancelledError:
        return grpc.StatusCode.CANCELLED, ""
    return future.code(), future.details() or ""
