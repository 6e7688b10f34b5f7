"""Which workflows this engine can run: by name and version, nothing global."""

from __future__ import annotations

from collections.abc import Iterable

from flowtx_dsl.errors import NoSuchWorkflow, WorkflowError
from flowtx_dsl.workflow import AnyWorkflow


class Registry:
    """The workflows an engine has loaded."""

    def __init__(self, workflows: Iterable[AnyWorkflow] = ()) -> None:
        """Raises ``WorkflowError`` when two different workflows share a name and version."""
        self._loaded: dict[tuple[str, str], AnyWorkflow] = {}
        for workflow in workflows:
            self.add(workflow)

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
                remedy="Give one of them a name of its own: @flowtx.workflow(name=...).",
            )
        workflow.signature  # noqa: B018 - an annotation that cannot be a payload is an error now, not at the first run
        self._loaded[key] = workflow
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


def _origin(workflow: AnyWorkflow) -> tuple[str, str]:
    return (workflow.fn.__module__, workflow.fn.__qualname__)
