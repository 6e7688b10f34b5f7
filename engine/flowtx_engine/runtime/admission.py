"""Admission: lets runs of workflows with a limit begin, as many as their limits have room for.

The law of this file: whoever claims sees the count. A look is one step in the store, which counts, admits and claims,
so all nodes together keep a limit. A node without limited workflows looks once for what an earlier version with a limit
has left waiting, and never again; neither does a run without a limit pay anything here.
"""

from __future__ import annotations

from flowtx_engine.journal.places import Admitted, LimitRule
from flowtx_engine.runtime.registry import Registry
from flowtx_engine.runtime.tools import Tools


class Admission:
    """One node's looks at who waits for a place."""

    def __init__(self, tools: Tools, registry: Registry) -> None:
        self._tools = tools
        self._registry = registry
        self._done: set[tuple[str, str]] = set()
        """Workflows without a limit that have nobody left waiting."""

    async def admit(self, room: int) -> Admitted:
        """Admit and claim at most ``room`` runs; whoever called drives them."""
        rules = self._rules()
        if not rules or room <= 0:
            return Admitted()
        node, now_at = self._tools.node, self._tools.clock.now_at()
        admitted = await self._tools.journal.ask_node(lambda store: store.admit(node, now_at, room, rules))
        if len(admitted.transactions) < room:
            self._done |= {(rule.workflow, at) for rule in rules if is_free(rule) for at in rule.versions}
        return admitted

    def _rules(self) -> list[LimitRule]:
        done = self._done
        return [
            rule
            for rule in self._registry.rules
            if not is_free(rule) or any((rule.workflow, at) not in done for at in rule.versions)
        ]


def is_free(rule: LimitRule) -> bool:
    """True when a rule limits nothing."""
    return rule.concurrency is None and rule.per_s is None
