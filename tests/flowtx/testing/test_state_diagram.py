"""State diagrams: drawn from code, and those of DTM's patterns stand in their pages as the code is."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec
import pytest

import flowtx
from flowtx.testing.state_diagram import Transition, mermaid, transitions_of
from flowtx_dsl.patterns.callback import CallbackEnd, CallbackOrder, callback
from flowtx_dsl.patterns.calling import WORD, Word
from flowtx_dsl.patterns.msg import MsgBranch, MsgOrder, msg
from flowtx_dsl.patterns.saga import SagaOrder, SagaStep, saga
from flowtx_dsl.patterns.tcc import TccBranch, TccOrder, tcc
from flowtx_dsl.patterns.xa import XaBranch, XaOrder, xa
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.kernel.events import AnyFact, Signalled

PAGES = Path(__file__).parents[3] / "docs" / "patterns"
FENCE = re.compile(r"```mermaid\n(.*?)```\n", re.DOTALL)


def word(kind: str, data: object = None, **more: str) -> AnyFact:
    told = msgspec.convert({"kind": kind, **more}, Word)
    told = msgspec.structs.replace(told, data=msgspec.Raw(msgspec.json.encode(data)))
    return Signalled(name=WORD, value=msgspec.Raw(msgspec.json.encode(told)))


SAGA = SagaOrder(
    steps=(SagaStep(branch_id="01", action="http://p/do", compensate="http://p/back", payload=b""),),
    timeout_s=60,
    request_timeout_s=3.0,
    retry_interval_s=10.0,
)
TCC = TccOrder(timeout_s=35, request_timeout_s=3.0, retry_interval_s=10.0)
TCC_BRANCH = TccBranch(branch_id="01", confirm="http://p/confirm", cancel="http://p/cancel")
XA = XaOrder(timeout_s=35, request_timeout_s=3.0, retry_interval_s=10.0)
MSG = MsgOrder(
    branches=(MsgBranch(branch_id="01", url="http://p/do", payload=b""),),
    query_prepared="http://p/query",
    timeout_s=35,
    request_timeout_s=3.0,
    retry_interval_s=10.0,
)
WORKFLOW = CallbackOrder(query_prepared="http://p/resume", name="w", request_timeout_s=3.0, retry_interval_s=10.0)

Drawn = tuple[AnyWorkflow, msgspec.Struct, dict[str, AnyFact]]
PATTERNS: dict[str, Drawn] = {
    "saga": (saga, SAGA, {"submit": word("submit", msgspec.structs.replace(SAGA, steps=()))}),
    "tcc": (
        tcc,
        TCC,
        {"registerBranch": word("branch", TCC_BRANCH), "submit": word("submit", TCC), "abort": word("abort")},
    ),
    "xa": (
        xa,
        XA,
        {
            "registerBranch": word("branch", XaBranch(branch_id="01", url="http://p/xa")),
            "submit": word("submit", XA),
            "abort": word("abort"),
        },
    ),
    "msg": (msg, MSG, {"submit": word("submit", MSG), "abort": word("abort")}),
    "workflow": (
        callback,
        WORKFLOW,
        {
            "registerBranch": word("branch", {"branch_id": "01", "op": "action", "status": "succeed"}),
            "submit (succeed)": word("submit", CallbackEnd(status="succeed")),
            "submit (failed)": word("submit", CallbackEnd(status="failed")),
        },
    ),
}


def drawn(pattern: str) -> list[Transition]:
    workflow, order, told = PATTERNS[pattern]
    return transitions_of(workflow, msgspec.json.encode([order]), is_prepared=True, told=told)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_page_of_a_pattern_shows_the_states_that_its_code_has(pattern: str) -> None:
    page = PAGES / f"{pattern}.md"
    expected = mermaid([Transition("[*]", "prepare", "prepared"), *drawn(pattern)])
    if os.environ.get("FLOWTX_REDRAW"):
        page.write_text(FENCE.sub(f"```mermaid\n{expected}```\n", page.read_text(), count=1))
    (shown,) = FENCE.findall(page.read_text())
    assert shown == expected, "run this test with FLOWTX_REDRAW=1 to bring the page up to date"


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_goes_only_where_dtm_goes(pattern: str) -> None:
    """The transitions that spec 4.1 allows; to an end at once where DTM goes through a status with nothing to do."""
    allowed = {
        ("prepared", "submitted"),
        ("prepared", "succeed"),
        ("prepared", "aborting"),
        ("prepared", "failed"),
        ("submitted", "aborting"),
        ("submitted", "succeed"),
        ("submitted", "failed"),
        ("aborting", "failed"),
    }
    found = {(before, after) for before, _, after in drawn(pattern)}
    assert found <= allowed
    if pattern in ("tcc", "xa", "msg"):
        assert ("submitted", "aborting") not in found, "once submitted there is no way back"
    for before, label, after in drawn(pattern):
        assert label == "forceStop" or (before, after) != ("submitted", "failed")


def take() -> None:
    """A step."""


def give() -> None:
    """Its compensation."""


@flowtx.workflow
async def transfer(tx: flowtx.Tx) -> None:
    await tx.step(take, compensate=give)
    await tx.sleep(5)
    if await tx.signal("verdict", type=bool):
        raise flowtx.Abort("no")


def test_a_workflow_in_python_is_drawn_too() -> None:
    told: dict[str, AnyFact] = {"no": Signalled(name="verdict", value=msgspec.Raw(b"true"))}
    assert set(transitions_of(transfer, b"[]", told=told)) == {
        Transition("submitted", "take is refused", "failed"),
        Transition("submitted", "no", "aborting"),
        Transition("submitted", "time is up", "aborting"),
        Transition("aborting", "give succeeds", "failed"),
        Transition("submitted", "forceStop", "failed"),
        Transition("aborting", "forceStop", "failed"),
    }


def test_what_leads_from_one_status_to_another_stands_on_one_arrow() -> None:
    arrows = [Transition("a", "x", "succeed"), Transition("a", "y", "succeed"), Transition("a", "x", "succeed")]
    assert mermaid(arrows) == "stateDiagram-v2\n    a --> succeed: x, y\n    succeed --> [*]\n"
