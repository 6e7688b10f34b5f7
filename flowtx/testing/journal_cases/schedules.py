"""Cases on cron schedules: keeping them, finding what is due, and starting each tick once.

The law of this file: a case gets an empty store, uses the protocol and nothing else, and raises ``AssertionError`` with
what it found and what it expected.
"""

from __future__ import annotations

import msgspec

from flowtx.testing.journal_cases.looks import in_threads, put, row_of, same
from flowtx.testing.journal_writes import begin
from flowtx_engine.journal.schedules import CronSchedule, Tick
from flowtx_engine.journal.store import Store


def schedule(name: str, *, next_at: float | None = 5.0, input: bytes = b"[1]") -> CronSchedule:
    """A schedule with something in every column."""
    return CronSchedule(
        name=name,
        workflow="w",
        version="2",
        input=input,
        cron="0 3 * * *",
        timezone="Europe/Berlin",
        catch_up="latest",
        overlap="skip",
        next_at=next_at,
        created_at=1.25,
        updated_at=2.5,
        last_at=0.5,
        last_gid="before",
        skipped_count=7,
    )


def check_keeping(store: Store) -> None:
    """Schedules are kept and forgotten by name."""
    same(store.schedules(), [], "the schedules of an empty journal")
    store.put_schedule(schedule("b"))
    store.put_schedule(schedule("a", next_at=None, input=bytes(range(256))))
    same(store.schedules(), [schedule("a", next_at=None, input=bytes(range(256))), schedule("b")], "both, by name")
    changed = msgspec.structs.replace(schedule("b"), cron="* * * * *", last_at=None, last_gid="", skipped_count=0)
    store.put_schedule(changed)
    same(store.schedules()[1:], [changed], "a schedule that was put again")
    same([store.delete_schedule("b"), store.delete_schedule("b")], [True, False], "deleting one twice")
    same([one.name for one in store.schedules()], ["a"], "what is left")


def check_due_schedules(store: Store) -> None:
    """What is due is found, and when the next one is."""
    for name, next_at in (("c", 3.0), ("a", 5.0), ("b", 7.0), ("never", None)):
        store.put_schedule(schedule(name, next_at=next_at))
    expected = {1.0: ("", 3.0), 3.0: ("c", 5.0), 6.0: ("ac", 7.0), 9.0: ("abc", None)}
    for now_at, (names, next_at) in expected.items():
        due, found_at = store.due_schedules(now_at)
        found = "".join(one.name for one in due)
        same((found, found_at), (names, next_at), f"what is due at {now_at}, and what comes next")


def check_ticking(store: Store) -> None:
    """A tick is started once, with its run."""
    store.put_schedule(schedule("s", next_at=5.0))
    tick = Tick(name="s", at=5.0, next_at=6.0, now_at=5.5, skipped_count=2, started_at=5.0, write=begin("run"))
    same(store.tick(msgspec.structs.replace(tick, at=4.0)), False, "a tick where the schedule does not stand")
    same(store.tick(msgspec.structs.replace(tick, name="x")), False, "a tick of an unknown schedule")
    same(store.transaction("run"), None, "the run of neither")
    same(store.tick(tick), True, "the tick where it stands")
    same(row_of(store, "run").status, "submitted", "its run")
    (moved,) = store.schedules()
    same((moved.next_at, moved.last_at, moved.last_gid), (6.0, 5.0, "run"), "where it stands then")
    same((moved.updated_at, moved.skipped_count), (5.5, 9), "what else has changed")
    same(store.tick(tick), False, "the same tick again")
    same(store.tick(Tick(name="s", at=6.0, next_at=None, now_at=6.5, skipped_count=1)), True, "a tick without a run")
    (moved,) = store.schedules()
    same((moved.next_at, moved.last_gid, moved.skipped_count), (None, "run", 10), "where it stands then")


def check_ticking_of_a_run_that_is_there(store: Store) -> None:
    """A tick whose run is there counts as started."""
    put(store, begin("run", input=b"mine"))
    store.put_schedule(schedule("s", next_at=5.0))
    same(
        store.tick(Tick(name="s", at=5.0, next_at=6.0, now_at=5.5, started_at=5.0, write=begin("run"))), True, "a tick"
    )
    same(row_of(store, "run").input, b"mine", "the run that was there")
    same(store.schedules()[0].last_gid, "run", "the last run")


def check_two_tickers(store: Store) -> None:
    """Two nodes start a tick once."""
    store.put_schedule(schedule("s", next_at=0.0))
    started: list[int] = []

    def start(node: str) -> None:
        for at in range(30):
            write = begin(f"{at}", input=node.encode())
            tick = Tick(name="s", at=float(at), next_at=at + 1.0, now_at=0.0, started_at=float(at), write=write)
            if store.tick(tick):
                started.append(at)

    in_threads([lambda: start("n1"), lambda: start("n2")])
    same(sorted(started), sorted(set(started)), "ticks started once")
    same(len(store.history("0")), 1, "the history of the first run")
