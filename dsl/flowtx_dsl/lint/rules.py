"""The rules: a code, what the rule is about, and what to write instead.

The law of this file: it is the whole list; a check says with which of these rules it finds something, and the how-to
page has a heading for each. A code keeps its meaning for ever, because people write it into ``noqa`` comments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One kind of fault; ``summary`` says what is wrong, ``remedy`` what to write when nothing nearer is known."""

    code: str
    summary: str
    remedy: str


UNREADABLE = Rule(code="FTX000", summary="the file is not valid Python", remedy="Mend the file, then lint it again.")

# Values that another run of the same code would not see again.
CLOCK = Rule(code="FTX001", summary="the clock is read in a workflow", remedy="Write tx.now().")
DICE = Rule(
    code="FTX002", summary="dice are thrown in a workflow", remedy="Write tx.random, or tx.uuid4() for a fresh id."
)
ENVIRONMENT = Rule(
    code="FTX003",
    summary="a workflow looks at its process or machine",
    remedy="Pass the value as input of the workflow, or read it in a function called with tx.step(...).",
)
IO = Rule(
    code="FTX004",
    summary="a workflow does I/O itself",
    remedy="Put the I/O into a function and call it with tx.step(...).",
)
THREADS = Rule(
    code="FTX005",
    summary="a workflow starts or uses threads, processes or signals",
    remedy="Put it into a function called with tx.step(...); for parallel branches use tx.open_nursery().",
)
BLOCKING_SLEEP = Rule(
    code="FTX006", summary="a workflow sleeps without its tx", remedy="Write await tx.sleep(seconds)."
)
SET_ORDER = Rule(
    code="FTX007",
    summary="the order of a set, which is another one in every process, is used in a workflow",
    remedy="Put it in order: sorted(...).",
)
LISTING_ORDER = Rule(
    code="FTX008",
    summary="a folder is listed in a workflow, in the order the file system happens to give",
    remedy="List it in a function called with tx.step(...), and return sorted(...).",
)
IDENTITY = Rule(
    code="FTX009",
    summary="id() or hash(), which is another one in every process, is used in a workflow",
    remedy="Use a key of the data itself, or hashlib for a digest that stays.",
)

# Waiting.
EVENT_LOOP = Rule(
    code="FTX010",
    summary="a workflow calls trio, asyncio or anyio",
    remedy="Use the word of tx for it, or do it in a function called with tx.step(...).",
)
FOREIGN_AWAIT = Rule(
    code="FTX011",
    summary="a workflow awaits what is not a word of tx",
    remedy="Call it with await tx.step(function, ...), or hand tx to the helper.",
)
FORGOTTEN_AWAIT = Rule(
    code="FTX012", summary="a word of tx is asked but not awaited, so nothing happens", remedy="Put await before it."
)
STEP_CALLED = Rule(
    code="FTX013",
    summary="a step's function is called directly, so nothing is journaled",
    remedy="Write await tx.step(function, ...).",
)

# Ends that are not the workflow's own: cancellation, and the coroutine being dropped.
SWALLOWED = Rule(
    code="FTX020",
    summary="a handler around awaits swallows cancellation and the end of a run",
    remedy="Catch Exception, or end the handler with a bare raise.",
)
AWAIT_IN_CLEANUP = Rule(
    code="FTX021",
    summary="a clean-up block awaits, but it also runs when the run is only dropped from memory",
    remedy="Register it as compensate= of its step, or do it after the try statement.",
)

# What lives outside the run.
OUTSIDE_CHANGED = Rule(
    code="FTX030",
    summary="a workflow changes what lives outside of it, and would change it again at every replay",
    remedy="Keep it in a local variable, return it, or change it in a function called with tx.step(...).",
)
TX_KEPT = Rule(
    code="FTX031",
    summary="tx is kept in an attribute or outside the workflow",
    remedy="Hand tx to the functions that need it, as their first argument.",
)
TX_IN_STEP = Rule(
    code="FTX032",
    summary="a step is given tx, or uses it",
    remedy="Give the step plain data; call what needs tx as a helper: await helper(tx, ...).",
)

# What travels: inputs, results, steps.
WORKFLOW_ANNOTATION = Rule(
    code="FTX040",
    summary="an input or the result of a workflow has no annotation",
    remedy="Annotate it: the annotation says how it is read back from the journal.",
)
STEP_ANNOTATION = Rule(
    code="FTX041",
    summary="an argument or the result of a step has no annotation",
    remedy="Annotate it: the annotation says how it is read back from the journal.",
)
UNENCODABLE = Rule(
    code="FTX042",
    summary="an annotation names a type that cannot be journaled",
    remedy="Use plain data: dataclasses, enums, datetimes, Decimals, UUIDs, bytes, lists, dicts, models.",
)
MUTABLE_DEFAULT = Rule(
    code="FTX043",
    summary="a default value is shared by all runs and can be changed",
    remedy="Use None, or an immutable value such as ().",
)
KEYWORDS_ONLY = Rule(
    code="FTX044",
    summary="a workflow or step needs keyword arguments, but arguments travel by position",
    remedy="Make the parameters positional, or give them defaults.",
)

# How a step is asked for.
STEP_OF_RESULT = Rule(
    code="FTX050",
    summary="a step is given the result of a call instead of a function",
    remedy="Pass the function itself: tx.step(withdraw, t), not tx.step(withdraw(t)).",
)
LAMBDA_STEP = Rule(
    code="FTX051",
    summary="a step is a lambda, which has no name in the journal and no annotations",
    remedy="Define a function with annotations and pass it.",
)

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        rule.code: rule
        for rule in (
            UNREADABLE,
            CLOCK,
            DICE,
            ENVIRONMENT,
            IO,
            THREADS,
            BLOCKING_SLEEP,
            SET_ORDER,
            LISTING_ORDER,
            IDENTITY,
            EVENT_LOOP,
            FOREIGN_AWAIT,
            FORGOTTEN_AWAIT,
            STEP_CALLED,
            SWALLOWED,
            AWAIT_IN_CLEANUP,
            OUTSIDE_CHANGED,
            TX_KEPT,
            TX_IN_STEP,
            WORKFLOW_ANNOTATION,
            STEP_ANNOTATION,
            UNENCODABLE,
            MUTABLE_DEFAULT,
            KEYWORDS_ONLY,
            STEP_OF_RESULT,
            LAMBDA_STEP,
        )
    }
)
