"""The words of the language, as the linter knows them.

The law of this file: names only. A test holds it against the real ``Tx``, so a new word must be put into a line here.
"""

from __future__ import annotations

HOMES = ("flowtx", "flowtx_dsl.workflow", "flowtx_dsl.tx", "flowtx_dsl.targets", "flowtx_dsl.errors")
"""Where the language can be imported from."""

DECORATORS = frozenset({"flowtx.workflow", "flowtx_dsl.workflow.workflow"})
TX_TYPES = frozenset({"flowtx.Tx", "flowtx_dsl.tx.Tx"})

WAITING = frozenset(
    {
        "step",
        "sleep",
        "sleep_until",
        "signal",
        "update",
        "child",
        "detach",
        "tcc",
        "start_step",
        "checkpoint",
    }
)
"""Words that do nothing unless they are awaited; ``start_step`` is a nursery's."""

AT_ONCE = frozenset(
    {"gid", "now", "random", "uuid4", "changed", "expose", "guard", "is_prepared", "submitted", "restart"}
)
"""Words that answer with a value at once, or with nothing. What every other word gives belongs to the run."""

STARTED_AT_ONCE = frozenset({"start_step"})
"""Waiting words that a nursery may have as plain calls, because it does the waiting."""

FUNCTIONS_AT = {"step": 1, "start_step": 1, "tcc": 3, "compensate": 1, "message": 1}
"""How many leading arguments of a word are functions that run as steps."""

FUNCTION_KEYWORDS = frozenset({"fn", "compensate", "try_", "confirm", "cancel"})
"""Keyword arguments that are functions which run as steps."""

SWALLOWABLE = frozenset(
    {
        "asyncio.CancelledError",
        "builtins.BaseException",
        "builtins.BaseExceptionGroup",
        "builtins.GeneratorExit",
        "flowtx.Cancelled",
        "flowtx_dsl.errors.Cancelled",
        "trio.Cancelled",
    }
)
"""What a workflow must let pass."""

ENDING = frozenset({"builtins.BaseException", "builtins.GeneratorExit"})
"""What Python throws into a run that is dropped, or catches it."""
