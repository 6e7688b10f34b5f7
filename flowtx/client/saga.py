"""A saga as a value, and the body that submits it (spec 2.3, 10).

The law of this file: what no server could run as meant is said here, when the value is made; a saga is immutable, so
submitting it again after a lost answer says exactly the same.
"""

from __future__ import annotations

import graphlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import msgspec

from flowtx_dsl.codec import encode
from flowtx_dsl.errors import PayloadError, WorkflowError

GID_LENGTH_MAX = 128


def _none() -> dict[str, str]:
    return {}


def _no_orders() -> dict[int, tuple[int, ...]]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the server treats a transaction (spec 2.3). Times are in whole seconds; None leaves it to the server.

    ``wait_result``: answer the submit when the transaction has come to an end, or is known not to succeed.
    ``request_timeout_s``: of each call to a participant. ``timeout_to_fail_s``: when a saga is turned round (sagas
    have none of their own). ``retry_interval_s``: the first pause before a call is repeated. ``retry_count_max``: how
    often a saga's action is repeated before the saga is turned round. ``branch_headers``: sent with every call.
    """

    wait_result: bool = False
    request_timeout_s: int | None = None
    timeout_to_fail_s: int | None = None
    retry_interval_s: int | None = None
    retry_count_max: int | None = None
    branch_headers: Mapping[str, str] = field(default_factory=_none)

    def __post_init__(self) -> None:
        for name in ("request_timeout_s", "timeout_to_fail_s", "retry_interval_s", "retry_count_max"):
            value: object = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value <= 0):
                raise WorkflowError(f"Options.{name} is {value!r}, expected a positive whole number or None")

    def fields(self) -> dict[str, object]:
        """The fields of a request, without what is left to the server."""
        every: dict[str, object] = {
            "wait_result": self.wait_result,
            "request_timeout": self.request_timeout_s,
            "timeout_to_fail": self.timeout_to_fail_s,
            "retry_interval": self.retry_interval_s,
            "retry_limit": self.retry_count_max,
            "branch_headers": dict(self.branch_headers),
        }
        return {name: value for name, value in every.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaStep:
    """One step: the URL that acts, the URL that takes it back, and what both are sent, as JSON.

    An empty URL counts as done without a call. ``payload`` is plain data: dataclasses, dicts, models.
    """

    action: str
    compensate: str = ""
    payload: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Saga:
    """A saga: its steps run in turn, or with ``concurrent`` together.

    ``orders`` says for a step (counted from 0) which steps must be done before it; only with ``concurrent``.
    Raises ``WorkflowError`` for a gid, or orders, that no server can run as meant.
    """

    gid: str
    steps: tuple[SagaStep, ...]
    concurrent: bool = False
    orders: Mapping[int, Collection[int]] = field(default_factory=_no_orders)
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        check_gid(self.gid)
        if self.orders and not self.concurrent:
            raise WorkflowError(
                f"saga {self.gid} has orders and is not concurrent, expected both",
                remedy="Pass concurrent=True, or leave the orders out: steps then run one after the other.",
            )
        _check_orders(self)


def check_gid(gid: str) -> None:
    """Raises ``WorkflowError`` for a gid that no server would keep as it is (spec 1)."""
    if not gid or len(gid) > GID_LENGTH_MAX or any(each in gid for each in "\n\r;\0"):
        raise WorkflowError(
            f"the gid is {gid!r}, expected 1 to {GID_LENGTH_MAX} characters without line ends, semicolons and NUL",
            remedy="Ask the server for one with new_gid().",
        )


def saga_body(saga: Saga) -> bytes:
    """The body of the submit; raises ``PayloadError`` naming the payload that cannot be written as JSON."""
    body: dict[str, object] = {
        "gid": saga.gid,
        "trans_type": "saga",
        "steps": [{"action": step.action, "compensate": step.compensate} for step in saga.steps],
        "payloads": [_payload(saga, number) for number in range(len(saga.steps))],
        **saga.options.fields(),
    }
    if saga.concurrent:
        orders = {str(step): sorted(before) for step, before in saga.orders.items()}
        body["custom_data"] = msgspec.json.encode({"concurrent": True, "orders": orders}).decode()
    return msgspec.json.encode(body)


def _payload(saga: Saga, number: int) -> str:
    what = f"payload of step {number} of saga {saga.gid}"
    try:
        return encode(saga.steps[number].payload, what=what).decode()
    except PayloadError as error:
        cause = error.__cause__
        raise PayloadError(f"{what} cannot be sent as JSON: {cause}", remedy=error.remedy) from cause


def _check_orders(saga: Saga) -> None:
    for step, before in saga.orders.items():
        for index in (step, *before):
            if not 0 <= index < len(saga.steps):
                raise WorkflowError(
                    f"the orders of saga {saga.gid} name step {index}, expected 0 to {len(saga.steps) - 1}"
                )
    try:
        graphlib.TopologicalSorter(saga.orders).prepare()
    except graphlib.CycleError as error:
        circle: list[int] = error.args[1]
        raise WorkflowError(
            f"the orders of saga {saga.gid} run in a circle, and none of its steps could begin: "
            + " before ".join(map(str, circle))
        ) from error
