"""Nonsense: JSON, texts and bytes as no client writes them, and transactions that nearly are ones.

The law of this file: everything comes from the dice that are handed in, so that one seed gives the same again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from random import Random

FIELDS = (
    *("gid", "trans_type", "steps", "payloads", "custom_data", "query_prepared", "protocol", "rollback_reason"),
    *("req_extra", "wait_result", "timeout_to_fail", "request_timeout", "retry_interval", "branch_headers"),
    *("concurrent", "retry_limit", "branch_id", "data", "confirm", "cancel", "url", "op", "status", "GID", "ſteps"),
)
TYPES = ("saga", "tcc", "xa", "msg", "workflow", "", "SAGA", "saga\u0000", "nonsense")
TEXTS = (
    *("", "a", "\u0000", "\ud800", "\U0001f4a5", "' OR 1=1 --", "%s%n", "../../etc/passwd", "a;b\r\nc", "FAILURE"),
    *("ONGOING", "http://127.0.0.1:1/x", "topic://t", "127.0.0.1:1/S/M", "http://[::1", "x" * 129, "é" * 3000),
)
NUMBERS = (
    *("0", "-0", "-1", "1e999", "-1e999", "1e-999", "9223372036854775807", "9223372036854775808", "1.5", "01", "+1"),
    *("NaN", "Infinity", "-Infinity", "9" * 400, "0x10", ".5", "5."),
)
OPERATIONS = ("submit", "prepare", "abort", "registerBranch", "forceStop", "resetNextCronTime", "prepareWorkflow")
LOOKS = ("query", "all", "subscribe", "unsubscribe", "queryKV", "scanKV", "resetCronTime", "newGid", "version")
PARAMETERS = ("gid", "position", "limit", "status", "transType", "createTimeStart", "topic", "url", "cat", "key")


def text(dice: Random) -> str:
    """A text, as JSON spells it, or nearly."""
    return json.dumps(dice.choice(TEXTS), ensure_ascii=dice.random() < 0.7)


def value(dice: Random, depth: int = 0) -> str:
    """A value of JSON, or nearly one, spelled."""
    kind = dice.randrange(8 if depth < 4 else 4)
    match kind:
        case 0:
            return dice.choice(NUMBERS)
        case 1:
            return dice.choice(("null", "true", "false", "True", "nul", ""))
        case 2 | 3:
            return text(dice)
        case 4 | 5:
            return "[" + ",".join(value(dice, depth + 1) for _ in range(dice.randrange(4))) + "]"
        case _:
            return members((text(dice), value(dice, depth + 1)) for _ in range(dice.randrange(4)))


def members(pairs: Iterable[tuple[str, str]]) -> str:
    """An object of JSON whose keys may come twice."""
    return "{" + ",".join(f"{key}:{content}" for key, content in pairs) + "}"


def order(dice: Random) -> str:
    """What is nearly a transaction: most fields fit, and some are there twice."""
    pairs = [('"gid"', json.dumps(f"n-{dice.randrange(200)}")), ('"trans_type"', json.dumps(dice.choice(TYPES)))]
    if dice.random() < 0.7:
        steps = [{"action": dice.choice(TEXTS), "compensate": dice.choice(TEXTS)} for _ in range(dice.randrange(4))]
        pairs.append(('"steps"', json.dumps(steps)))
        pairs.append(('"payloads"', json.dumps([dice.choice(TEXTS) for _ in steps])))
    if dice.random() < 0.3:
        orders = {str(dice.randrange(-1, 5)): [dice.randrange(-1, 5)] for _ in range(dice.randrange(4))}
        pairs.append(('"custom_data"', json.dumps(json.dumps({"concurrent": True, "orders": orders}))))
    for _ in range(dice.randrange(4)):
        pairs.append((json.dumps(dice.choice(FIELDS)), value(dice)))
    dice.shuffle(pairs)
    return members(pairs)


def body(dice: Random) -> bytes:
    """The body of a request: nonsense of one kind or another."""
    kind = dice.randrange(12)
    match kind:
        case 0:
            return dice.choice(("[", '{"a":', "[[{")).encode() * dice.choice((1, 50, 5_000, 200_000))
        case 1:
            return dice.randbytes(dice.randrange(200))
        case 2:
            return b"\xef\xbb\xbf" + order(dice).encode("utf-8", "surrogatepass")
        case 3:
            return order(dice).encode("utf-16", "surrogatepass")
        case 4:
            return spoilt(dice, order(dice).encode("utf-8", "surrogatepass"))
        case 5:
            return b'{"gid":"long","trans_type":"msg","custom_data":"' + b"x" * dice.choice((1_000, 3_000_000)) + b'"}'
        case 6 | 7:
            return value(dice).encode("utf-8", "surrogatepass")
        case _:
            return order(dice).encode("utf-8", "surrogatepass")


def call(dice: Random) -> bytes:
    """A call of JSON-RPC, nearly; some are batches."""
    methods = ("newGid", "prepare", "submit", "abort", "registerBranch", "rpc.discover", "", "newgid")
    pairs = [
        ('"jsonrpc"', '"2.0"' if dice.random() < 0.8 else value(dice)),
        ('"method"', json.dumps(dice.choice(methods)) if dice.random() < 0.8 else value(dice)),
        ('"params"', order(dice) if dice.random() < 0.6 else value(dice)),
        ('"id"', '"i"' if dice.random() < 0.6 else value(dice)),
    ]
    dice.shuffle(pairs)
    one = members(pairs[: dice.choice((4, 4, 4, 3, 2))])
    spelled = f"[{','.join([one] * dice.randrange(4))}]" if dice.random() < 0.1 else one
    encoded = spelled.encode("utf-8", "surrogatepass")
    return spoilt(dice, encoded) if dice.random() < 0.2 else encoded


def spoilt(dice: Random, good: bytes) -> bytes:
    """Bytes with some cut out, some put in and some turned over."""
    bad = bytearray(good)
    for _ in range(dice.randrange(1, 4)):
        at = dice.randrange(len(bad) + 1)
        match dice.randrange(3):
            case 0:
                del bad[at : at + dice.randrange(1, 20)]
            case 1:
                bad[at:at] = dice.randbytes(dice.randrange(1, 8))
            case _:
                bad[at : at + 1] = bytes([dice.randrange(256)])
    return bytes(bad)
