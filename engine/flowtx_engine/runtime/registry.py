"""Which workflows this engine can run: by name and version, nothing global."""

from __future__ import annotations

from collections.abc import Iterable

from flowtx_dsl.errors import NoSuchWorkflow, WorkflowError
from flowtx_dsl.workflow import AnyWorkflow, must_be_workflow
from flowtx_engine.journal.places import LimitRule


class Registry:
    """The workflows an engine has loaded."""

    def __init__(self, workflows: Iterable[AnyWorkflow] = ()) -> None:
        """Raises ``WorkflowError`` when two different workflows share a name and version."""
        self._loaded: dict[tuple[str, str], AnyWorkflow] = {}
        self._rules: list[LimitRule] | None = None
        self._limited: set[str] | None = None
        for workflow in workflows:
            self.add(must_be_workflow(workflow, "workflows="))

    def add(self, workflow: AnyWorkflow) -> bool:
        """Load a workflow; True when it was not loaded before.

        The same function declared anew (a module that was reloaded) takes the place of the old one. Raises
        ``WorkflowError`` when another function already has its name and version.
        """
        key = (workflow.name, workflow.version)
        known = self._loaded.get(key)
        if known is not None and known is not workflow and _origin(known) != _origin(workflow):
            raise WorkflowError(
                f"two workflows are called {workflow.name!r} version {workflow.version}: "
                f"{known.where} and {workflow.where}",
                remedy="Give one of them a name or version of its own: @flowtx.workflow(name=..., version=...).",
            )
        workflow.signature  # noqa: B018 - an annotation that cannot be a payload is an error now, not at the first run
        self._loaded[key] = workflow
        if known is not workflow:
            self._rules = self._limited = None
        return known is None

    def find(self, name: str, version: str) -> AnyWorkflow:
        """A loaded workflow; raises ``NoSuchWorkflow``."""
        try:
            return self._loaded[name, version]
        except KeyError:
            loaded = ", ".join(f"{known} version {at}" for known, at in self._loaded) or "none"
            raise NoSuchWorkflow(f"workflow {name} version {version} is not loaded here; loaded: {loaded}") from None

    @property
    def keys(self) -> list[tuple[str, str]]:
        """The names and versions that are loaded."""
        return list(self._loaded)

    @property
    def rules(self) -> list[LimitRule]:
        """A rule for every name that is loaded; it has the limit of the version that was loaded last with one."""
        if self._rules is None:
            self._rules = [self._rule_of(name) for name in dict.fromkeys(name for name, _ in self._loaded)]
        return self._rules

    def is_limited(self, name: str) -> bool:
        """True when a version of this name has a limit."""
        if self._limited is None:
            self._limited = {workflow.name for workflow in self._loaded.values() if workflow.limit is not None}
        return name in self._limited

    def _rule_of(self, name: str) -> LimitRule:
        mine = [workflow for (known, _), workflow in self._loaded.items() if known == name]
        versions = tuple(workflow.version for workflow in mine)
        limits = [workflow.limit for workflow in mine if workflow.limit is not None]
        if not limits:
            return LimitRule(workflow=name, versions=versions)
        return LimitRule(workflow=name, versions=versions, concurrency=limits[-1].concurrency, per_s=limits[-1].per_s)


def _origin(workflow: AnyWorkflow) -> tuple[str, str]:
    return (workflow.fn.__module__, workflow.fn.__qualname__)
