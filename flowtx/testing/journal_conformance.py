"""What every journal must do, as cases that any ``Store`` passes: yours too.

    import pytest
    from flowtx.testing.journal_conformance import Case, StoreMaker, cases

    MY_STORE = StoreMaker(name="mine", open=open_my_store, persists=True)

    @pytest.mark.parametrize("case", cases(MY_STORE), ids=str)
    def test_my_store_conforms(case: Case) -> None:
        case.check(MY_STORE)

The law of this file: every case has an empty journal of its own. Random sequences of everything at once are in
``journal_agreement.py``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from flowtx.testing.journal_cases import kv, nodes, opening, pieces, places, pruning, rows, schedules
from flowtx_engine.journal.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreMaker:
    """How to open journals. ``open`` gets a name: a new name is an empty journal.

    ``persists``: the same name again is the same journal, after closing and from two stores at once.
    """

    name: str
    open: Callable[[str], Store]
    persists: bool

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that every journal does; ``check`` raises ``AssertionError`` when this one does not."""

    name: str
    check: Callable[[StoreMaker], None]
    needs_persistence: bool = False

    def __str__(self) -> str:
        return self.name


_numbers = itertools.count()


def cases(maker: StoreMaker) -> list[Case]:
    """The cases for a store, those on persistence only if it persists."""
    return [case for case in CASES if maker.persists or not case.needs_persistence]


def check_store(maker: StoreMaker) -> None:
    """Run every case; raises ``AssertionError`` at the first that fails, naming it."""
    for case in cases(maker):
        try:
            case.check(maker)
        except AssertionError as error:
            error.add_note(f"in the case: {case.name}")
            raise


def new_name() -> str:
    """A name for a journal that no other has in this process."""
    return f"journal-{next(_numbers)}"


def _case(name: str | None, check: Callable[[StoreMaker], None], *, needs_persistence: bool = False) -> Case:
    assert name, check
    return Case(name=name.rstrip("."), check=check, needs_persistence=needs_persistence)


def _on_empty(check: Callable[[Store], None]) -> Case:
    """A case that wants one open, empty store."""

    def run(maker: StoreMaker) -> None:
        with closing(maker.open(new_name())) as store:
            check(store)

    return _case(check.__doc__, run)


def _opening(check: Callable[[Callable[[], Store]], None], *, again: bool) -> Case:
    """A case that opens one journal itself, several times if ``again``."""

    def run(maker: StoreMaker) -> None:
        name = new_name()
        check(lambda: maker.open(name))

    return _case(check.__doc__, run, needs_persistence=again)


# A case is called by the docstring of its function.
CASES: Sequence[Case] = (
    _on_empty(rows.check_every_column),
    _on_empty(rows.check_history),
    _on_empty(rows.check_histories),
    _on_empty(rows.check_empty_values),
    _on_empty(rows.check_large_payloads),
    _on_empty(rows.check_odd_gids),
    _on_empty(rows.check_times),
    _on_empty(rows.check_taken_seq),
    _on_empty(rows.check_taken_gid),
    _on_empty(rows.check_gaps),
    _on_empty(rows.check_fresh_journals),
    _on_empty(rows.check_conflicts_in_a_batch),
    _on_empty(rows.check_one_gid_twice),
    _on_empty(rows.check_long_batches),
    _on_empty(rows.check_listing),
    _on_empty(rows.check_paging),
    _on_empty(nodes.check_claiming),
    _on_empty(nodes.check_workflows),
    _on_empty(nodes.check_dead_nodes),
    _on_empty(nodes.check_two_claimers),
    _on_empty(nodes.check_next_wake_at),
    _on_empty(nodes.check_owning),
    _on_empty(nodes.check_leaving),
    _on_empty(nodes.check_emptying),
    _on_empty(kv.check_kv_versions),
    _on_empty(kv.check_kv_odd_texts),
    _on_empty(kv.check_kv_deletion),
    _on_empty(kv.check_kv_paging),
    _on_empty(kv.check_kv_race),
    _on_empty(pieces.check_pieces),
    _on_empty(pieces.check_whole_writes),
    _on_empty(pieces.check_missing_pieces),
    _on_empty(pieces.check_pieces_twice),
    _on_empty(pieces.check_pieces_in_a_batch),
    _on_empty(pieces.check_who_is_swept),
    _on_empty(pieces.check_sweeping_in_parts),
    _on_empty(pieces.check_letting_go),
    _on_empty(pieces.check_sweep_beside_writers),
    _on_empty(pieces.check_emptying_of_pieces),
    _on_empty(places.check_admitting),
    _on_empty(places.check_rates),
    _on_empty(places.check_places_are_held),
    _on_empty(places.check_putting_back),
    _on_empty(places.check_who_waits),
    _on_empty(places.check_versions_of_places),
    _on_empty(places.check_two_admitters),
    _on_empty(places.check_loaded),
    _on_empty(pruning.check_pruning),
    _on_empty(pruning.check_beginning_anew_after_pruning),
    _on_empty(pruning.check_pruning_of_children),
    _on_empty(pruning.check_pruning_frees_places),
    _on_empty(schedules.check_keeping),
    _on_empty(schedules.check_due_schedules),
    _on_empty(schedules.check_ticking),
    _on_empty(schedules.check_ticking_of_a_run_that_is_there),
    _on_empty(schedules.check_two_tickers),
    _opening(opening.check_closing, again=False),
    _opening(opening.check_readers, again=False),
    _opening(opening.check_reopening, again=True),
    _opening(opening.check_two_stores, again=True),
)
