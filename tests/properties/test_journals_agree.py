"""Law: whatever is done to them, all journals answer as the one in memory does."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from flowtx.testing.faulty_store import FaultyStore
from flowtx.testing.journal_agreement import stores_agree
from flowtx.testing.journal_conformance import StoreMaker
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.journal.records import Transaction
from flowtx_engine.journal.sql import SqlStore, open_sqlite


def test_memory_and_sqlite_agree_on_everything() -> None:
    with TemporaryDirectory() as folder:

        def sqlite(name: str) -> SqlStore:
            return open_sqlite(f"sqlite:///{Path(folder) / name}.db")

        machine = stores_agree(
            StoreMaker(name="sqlite", open=sqlite, persists=True),
            StoreMaker(name="faulty", open=lambda _: FaultyStore(MemoryStore()), persists=False),
        )
        run_state_machine_as_test(
            machine, settings=settings(max_examples=settings().max_examples // 2, stateful_step_count=30)
        )


def test_a_store_that_claims_too_early_is_found_out() -> None:
    class Hasty(MemoryStore):
        def claim(
            self, node: str, now_at: float, limit: int, workflows: Sequence[tuple[str, str]]
        ) -> list[Transaction]:
            return super().claim(node, now_at + 1.0, limit, workflows)

    machine = stores_agree(StoreMaker(name="hasty", open=lambda _: Hasty(), persists=False))
    with pytest.raises(AssertionError, match="disagrees"):
        # Finding it is the point; shrinking it would take a minute.
        run_state_machine_as_test(machine, settings=settings(max_examples=400, phases=[Phase.generate], database=None))
