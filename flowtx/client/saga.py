"""A saga as a value, and the fields that submit it (spec 2.3, 10).

The law of this file: what no server could run as meant is said here, when the value is made; a saga is immutable, so
submitting it again after a lost answer says exactly the same.
"""

from __future__ import annotations

import graphlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import msgspec

from flowtx.client.options import Options, check_gid
from flowtx_dsl.errors import WorkflowError


def _no_orders() -> dict[int, tuple[int, ...]]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaStep:
    """One step: the URL that acts, the URL that takes it back, and what both are sent, as JSON.

    An empty URL counts as done without a call. ``payload`` is plain data: dataclasses, dicts, models. Where the server
    is asked over gRPC, a URL may be ``host:port/package.Service/Method``, and a payload a protobuf message or bytes.
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


def saga_fields(saga: Saga) -> dict[str, object]:
    """The fields of the submit, without the payloads."""
    fields: dict[str, object] = {
        "gid": saga.gid,
        "trans_type": "saga",
        "steps": [{"action": step.action, "compensate": step.compensate} for step in saga.steps],
        **saga.options.fields(),
    }
    if saga.concurrent:
        orders = {str(step): sorted(before) for step, before in saga.orders.items()}
        fields["custom_data"] = msgspec.json.encode({"concurrent": True, "orders": orders}).decode()
    return fields


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
