"""Declaring workflows: whatever is wrong is said where the declaration stands."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from flowtx_dsl.errors import WorkflowError
from flowtx_dsl.tx import Tx
from flowtx_dsl.workflow import Workflow, workflow


@workflow
async def transfer(tx: Tx, amount: int) -> str:
    """Move money."""
    return str(amount)


def test_a_workflow_knows_its_name_version_and_line() -> None:
    assert (transfer.name, transfer.version) == ("transfer", "1")
    assert transfer.where.startswith(f"{__file__}:")
    assert repr(transfer) == f"<Workflow transfer version 1 at {transfer.where}>"
    assert transfer.__doc__ == "Move money."


def test_name_and_version_can_be_given() -> None:
    @workflow(name="money.move", version="2026-1")
    async def move(tx: Tx) -> None: ...

    assert (move.name, move.version) == ("money.move", "2026-1")


def test_the_first_parameter_is_tx_by_name_or_by_annotation() -> None:
    async def named(tx: Any) -> None: ...
    async def annotated(t: Tx) -> None: ...

    assert isinstance(workflow(named), Workflow)
    assert isinstance(workflow(annotated), Workflow)


async def without_parameters() -> None: ...
async def without_tx(amount: int) -> None: ...
async def with_tx_by_keyword(*, tx: Tx) -> None: ...
async def with_needed_keyword(tx: Tx, *, urgent: bool) -> None: ...
async def generating(tx: Tx) -> AsyncIterator[int]:
    yield 1


def plain(tx: Tx) -> None: ...


class Service:
    async def method(self, tx: Tx) -> None: ...


@pytest.mark.parametrize(
    ("fn", "message", "remedy"),
    [
        (plain, "workflow plain is not an async function", "Declare it with `async def`"),
        (generating, "workflow generating is an async generator", "yields nothing"),
        (without_parameters, "workflow without_parameters takes no tx", "async def without_parameters(tx: flowtx.Tx"),
        (without_tx, "the first parameter of workflow without_tx is 'amount', expected tx", "Let tx be its first"),
        (with_tx_by_keyword, "workflow with_tx_by_keyword takes no tx", "Let tx be its first"),
        (with_needed_keyword, "needs the keyword argument 'urgent'", "Make 'urgent' positional"),
        (Service.method, "the first parameter of workflow method is 'self', expected tx", "Let tx be its first"),
    ],
)
def test_what_cannot_be_a_workflow_is_refused_when_it_is_declared(fn: Any, message: str, remedy: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        workflow(fn)
    assert message in caught.value.message
    assert remedy in str(caught.value)


@pytest.mark.parametrize("name", ["x" * 129, ""])
def test_a_name_has_its_limits(name: str) -> None:
    async def fn(tx: Tx) -> None: ...

    with pytest.raises(WorkflowError, match="a workflow's name has 1 to 128 characters"):
        Workflow(fn, name=name, version="1")


@pytest.mark.parametrize("version", [1, "", "x" * 129, None])
def test_a_version_is_a_text(version: Any) -> None:
    # The journal holds it as a text; a number would be written and could not be read back.
    async def fn(tx: Tx) -> None: ...

    with pytest.raises(WorkflowError, match="a version is a text of 1 to 128 characters"):
        Workflow(fn, name="fn", version=version)


def test_a_partial_of_an_async_function_can_be_declared_under_a_name() -> None:
    async def move(tx: Tx, amount: int, currency: str) -> None: ...

    euros = workflow(name="euros")(functools.partial(move, currency="EUR"))
    assert "<Workflow euros version 1" in repr(euros)
    assert euros.signature.names == ("amount",)


def test_input_and_result_are_read_by_annotation() -> None:
    assert transfer.signature.name == "workflow transfer"
    assert transfer.signature.decode_args(b"[5]") == (5,)
    assert transfer.signature.result.wanted is str
