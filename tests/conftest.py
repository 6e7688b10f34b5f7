"""Hypothesis profiles for every test, and databases for every worker.

HYPOTHESIS_PROFILE or --hypothesis-profile chooses a profile. None has a deadline per example: on a busy machine it
measures the machine.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any, Protocol

import pytest
from hypothesis import settings

# While working: new examples on every run, failures remembered in .hypothesis/.
settings.register_profile("default", deadline=None)
# In CI: the same examples on every run, so that a red build is caused by the change; a failure prints how to repeat it.
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
# Over night: many new examples.
settings.register_profile("night", deadline=None, max_examples=5000, print_blob=True)

settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


class Node(Protocol):
    """What pytest-xdist, which has no types, tells of a worker that it is about to start."""

    config: pytest.Config
    gateway: Any
    workerinput: dict[str, Any]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Node) -> None:
    """In the process that starts the workers: one is about to start."""
    from tests.workers import databases_for  # noqa: PLC0415 - heavy, and a run without workers has no use for it

    stack = ExitStack()
    node.config.add_cleanup(stack.close)
    databases = databases_for(node.gateway.id, node.workerinput["testrunuid"][:8])
    node.workerinput["databases"] = stack.enter_context(databases)


def pytest_configure(config: pytest.Config) -> None:
    """In a worker: tests look for its databases where they look for any."""
    given: dict[str, Any] = getattr(config, "workerinput", {})
    os.environ.update(given.get("databases", {}))
