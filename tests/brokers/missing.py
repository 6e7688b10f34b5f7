"""A place where flowtx was installed without any extra."""

from __future__ import annotations

import pytest

from flowtx_dsl import queues


def _find_nothing(name: str) -> None:
    """As ``find_spec`` for what is not installed."""


def hide_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """No library of a broker is found until the test ends."""
    monkeypatch.setattr(queues, "find_spec", _find_nothing)
    queues.check_library.cache_clear()
