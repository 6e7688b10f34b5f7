"""Journals in lock-step: Hypothesis draws any sequence of calls, and every journal answers as the one in memory does.

    from hypothesis.stateful import run_state_machine_as_test
    from flowtx.testing.journal_agreement import stores_agree

    def test_mine_agrees() -> None:
        run_state_machine_as_test(stores_agree(MY_STORE))

The law of this file: what may differ is named here, and nothing else may: ids may be other numbers in the same order,
and an error need only be of the same class. Where ``MemoryStore`` is wrong, all the others will be told they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from flowtx.testing.journal_conformance import StoreMaker, new_name
from flowtx_engine.journal.errors import JournalError
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.journal.places import LimitRule
from flowtx_engine.journal.records import (
    Filter,
    InPieces,
    JournalRow,
    KvEntry,
    NewPlace,
    NewTransaction,
    PayloadField,
    Piece,
    RowChange,
    Status,
    Transaction,
    Write,
)
from flowtx_engine.journal.schedules import CatchUp, CronSchedule, Overlap, Tick
from flowtx_engine.journal.store import Store

# Few of everything, so that sequences meet; the values that databases stumble over among them.
gids = st.sampled_from(["g", "G", "g ", "ü", "日本'", "a;--"])
nodes = st.sampled_from(["n1", "n2", "N1"])
owners = st.sampled_from(["", "", "n1", "n2", "N1"])
statuses = st.sampled_from(cast("list[Status]", ["prepared", "submitted", "aborting", "succeed", "failed"]))
workflows = st.sampled_from([("w", "1"), ("w", "2"), ("W", "1")])
loaded = st.lists(workflows, max_size=3)
instants = st.one_of(
    st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0]), st.floats(min_value=-1e12, max_value=1e12, allow_nan=False)
)
texts = st.sampled_from(["", "text", "Text", "it's \N{SNOWMAN}"])
blobs = st.sampled_from([b"", b"{}", bytes(range(256))])
limits = st.integers(0, 5)
categories = st.sampled_from(["topics", "Topics"])

# An id is one writer's, so it belongs to one place.
in_pieces = st.sampled_from(
    [
        InPieces(id=f"{field}-{gid}", gid=gid, field=field, seq=None, piece_count=2, size=0)
        for gid in ("g", "ü")
        for field in cast("list[PayloadField]", ["data", "result"])
    ]
)

# Runs under limits have gids of their own, because the places of what has ended may be forgotten: it must not come back
# before it is deleted.
waiting_gids = st.sampled_from(["p", "P", "p ", "ü p"])
new_places = st.builds(
    NewPlace, key=st.sampled_from(["", "k", "K", "ü"]), due_at=st.sampled_from([0.0, 1.0, 2.0, 5e11])
)
rules = st.lists(
    st.builds(
        LimitRule,
        workflow=st.sampled_from(["w", "W"]),
        versions=st.sampled_from([("1",), ("2",), ("1", "2")]),
        concurrency=st.none() | st.integers(1, 3),
        per_s=st.none() | st.sampled_from([0.25, 1.0, 2.5]),
    ),
    max_size=2,
    unique_by=lambda rule: rule.workflow,
)
schedules = st.builds(
    CronSchedule,
    name=gids,
    workflow=st.just("w"),
    version=st.just("1"),
    input=blobs,
    cron=texts,
    timezone=st.just("UTC"),
    catch_up=st.sampled_from(cast("list[CatchUp]", ["latest", "all", "none"])),
    overlap=st.sampled_from(cast("list[Overlap]", ["allow", "skip"])),
    next_at=st.none() | st.sampled_from([1.0, 2.0, 3.0]),
    created_at=instants,
    updated_at=instants,
)

new_transactions = st.builds(
    NewTransaction,
    pattern=st.sampled_from(["saga", "tcc"]),
    workflow=workflows.map(lambda pair: pair[0]),
    version=workflows.map(lambda pair: pair[1]),
    status=statuses,
    owner=owners,
    wake_at=st.none() | instants,
    input=blobs,
    options=blobs,
    created_at=instants,
    begun_by=st.just("") | gids,
    reason=texts,
)
_unset = st.just(msgspec.UNSET)
row_changes = st.builds(
    RowChange,
    updated_at=instants,
    status=_unset | statuses,
    owner=_unset | owners,
    wake_at=_unset | st.none() | instants,
    attempt_count=_unset | st.integers(0, 2**31 - 1),
    last_error=_unset | texts,
    result=_unset | st.none() | blobs,
    reason=_unset | texts,
    finished_at=_unset | st.none() | instants,
    nudged_at=_unset | st.none() | instants,
)
filters = st.builds(
    Filter,
    status=st.just("") | statuses,
    pattern=st.sampled_from(["", "saga", "tcc", "Saga"]),
    workflow=st.sampled_from(["", "w", "W"]),
    created_from_at=st.none() | instants,
    created_to_at=st.none() | instants,
    unfinished=st.booleans(),
)


class _Agreement(RuleBasedStateMachine):
    """The machine without its stores; ``stores_agree`` makes one with them."""

    makers: Sequence[StoreMaker] = ()

    def __init__(self) -> None:
        super().__init__()
        self.oracle = MemoryStore()
        self.admitted_at = 0.0
        self.beat_at = -1e12
        self.names = [new_name() for _ in self.makers]
        self.stores: list[Store] = [maker.open(name) for maker, name in zip(self.makers, self.names, strict=True)]

    def teardown(self) -> None:
        for store in self.stores:
            store.close()

    def _agree(self, call: Callable[[Store], object]) -> None:
        expected = call(self.oracle)
        for store in self.stores:
            found = call(store)
            assert found == expected, f"{store!r} disagrees\n  found:    {found!r}\n  expected: {expected!r}"

    # --- writing ---

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """Most runs want some transactions to begin with."""
        some = data.draw(st.lists(gids, unique=True), "gids")
        self._commit([self._write(gid, 0, data) for gid in some])

    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        """A batch whose writes mostly follow what is there, and now and then do not."""
        ends = {gid: self._end_of(gid) for gid in data.draw(st.lists(gids, max_size=1), "any gid")}
        writes: list[Write] = []
        for gid in data.draw(st.lists(gids, min_size=1, max_size=8), "gids of the batch"):
            end = ends.setdefault(gid, self._end_of(gid))
            seq = max(0, end + data.draw(st.sampled_from([0, 0, 0, 0, 0, 0, -1, 1, -end]), "how far off"))
            writes.append(self._write(gid, seq, data))
            ends[gid] = seq + len(writes[-1].rows) if seq == end else end
        self._commit(writes)

    def _write(self, gid: str, seq: int, data: st.DataObject) -> Write:
        change = data.draw(st.none() | row_changes if seq else new_transactions, "change")
        rows = tuple(
            JournalRow(
                gid=gid,
                seq=each,
                kind="succeeded",
                address=f"0/{each}",
                data=data.draw(blobs, "data"),
                at=data.draw(instants, "at"),
            )
            for each in range(seq, seq + data.draw(st.integers(1, 3), "how many rows"))
        )
        keeps_from = data.draw(st.sampled_from([None, None, None, *(row.seq for row in rows)]), "a fresh journal")
        return Write(gid=gid, rows=rows, change=change, keeps_from=keeps_from)

    def _end_of(self, gid: str) -> int:
        rows = self.oracle.history(gid)
        return rows[-1].seq + 1 if rows else 0

    def _commit(self, writes: Sequence[Write]) -> None:
        self._agree(lambda store: [type(result) for result in store.commit(writes)])
        for gid in {write.gid for write in writes}:
            self.look_at(gid, 0)

    @rule(node=nodes, now_at=instants, limit=limits, workflows=loaded)
    def claim(self, node: str, now_at: float, limit: int, workflows: Sequence[tuple[str, str]]) -> None:
        self._agree(lambda store: _without_ids(store.claim(node, now_at, limit, workflows)))

    @rule(node=nodes, pause_s=st.sampled_from([0.0, 0.4, 1.0, 100.0]), limit=limits, rules=rules)
    def admit(self, node: str, pause_s: float, limit: int, rules: Sequence[LimitRule]) -> None:
        """Time goes forward here, because what no rate counts any more may be forgotten."""
        self.admitted_at += pause_s

        def look(store: Store) -> tuple[list[Transaction], float | None]:
            found = store.admit(node, self.admitted_at, limit, rules)
            return _without_ids(found.transactions), found.next_at

        self._agree(look)

    @rule(gid=waiting_gids, place=new_places, version=st.sampled_from(["1", "2"]), owner=owners, created_at=instants)
    def wait_for_a_place(self, gid: str, place: NewPlace, version: str, owner: str, created_at: float) -> None:
        row = JournalRow(gid=gid, seq=0, kind="began", address="", data=b"{}", at=created_at)
        new = NewTransaction(
            pattern="workflow",
            workflow="w",
            version=version,
            status="submitted",
            owner=owner,
            wake_at=None,
            input=b"",
            options=b"",
            created_at=created_at,
            place=place,
        )
        self._commit([Write(gid=gid, rows=(row,), change=new)])

    @rule(gid=waiting_gids, change=row_changes, is_over=st.booleans())
    def go_on_under_a_limit(self, gid: str, change: RowChange, is_over: bool) -> None:
        found = self.oracle.transaction(gid)
        if found is not None and not found.is_final:
            change = msgspec.structs.replace(change, status="succeed" if is_over else msgspec.UNSET)
            seq = len(self.oracle.history(gid))
            row = JournalRow(gid=gid, seq=seq, kind="ended", address="", data=b"{}", at=0.0)
            self._commit([Write(gid=gid, rows=(row,), change=change)])

    # --- pieces ---

    @rule(of=in_pieces, number=st.integers(0, 1), node=owners, at=instants, data=blobs)
    def put_piece(self, of: InPieces, number: int, node: str, at: float, data: bytes) -> None:
        piece = Piece(of=of, number=number, data=data, node=node, at=at)
        self._commit([Write(gid=of.gid, rows=(), pieces=(piece,))])

    @rule(of=in_pieces)
    def count(self, of: InPieces) -> None:
        end = self._end_of(of.gid)
        if end:
            row = JournalRow(gid=of.gid, seq=end, kind="succeeded", address="", data=b"{}", at=0.0)
            self._commit([Write(gid=of.gid, rows=(row,), counted=(of,))])

    @rule(ids=st.lists(in_pieces.map(lambda of: of.id), max_size=3), piece_max=limits)
    def sweep(self, ids: Sequence[str], piece_max: int) -> None:
        self._agree(lambda store: store.sweep(ids, piece_max))

    @rule(of=in_pieces, node=nodes, now_at=instants)
    def look_at_pieces(self, of: InPieces, node: str, now_at: float) -> None:
        """Of what was let go of, any pieces may be gone; and a node that is dead for long may be forgotten."""
        at = max(now_at, self.beat_at)
        self._agree(lambda store: sorted(store.uncounted(node, at, 100)))
        if of.id not in self.oracle.uncounted("", float("inf"), 100):
            self._agree(lambda store: store.pieces(of, 0, 9))

    @rule(gid=gids | waiting_gids, node=nodes)
    def put_back(self, gid: str, node: str) -> None:
        if self.oracle.transaction(gid) is not None:
            self._agree(lambda store: store.put_back(gid, node))

    @rule(ended_before_at=instants, limit=limits)
    def prune(self, ended_before_at: float, limit: int) -> None:
        self._agree(lambda store: store.prune(ended_before_at, limit))

    @rule(node=nodes, workflows=loaded)
    def declare(self, node: str, workflows: Sequence[tuple[str, str]]) -> None:
        self._agree(lambda store: store.declare(node, workflows))

    @rule(schedule=schedules)
    def put_schedule(self, schedule: CronSchedule) -> None:
        self._agree(lambda store: store.put_schedule(schedule))

    @rule(name=gids)
    def delete_schedule(self, name: str) -> None:
        self._agree(lambda store: store.delete_schedule(name))

    @rule(name=gids, at=st.sampled_from([1.0, 2.0, 3.0]), gid=gids, new=st.none() | new_transactions)
    def tick(self, name: str, at: float, gid: str, new: NewTransaction | None) -> None:
        row = JournalRow(gid=gid, seq=0, kind="began", address="", data=b"{}", at=at)
        write = None if new is None else Write(gid=gid, rows=(row,), change=new)
        tick = Tick(name=name, at=at, next_at=at + 1, now_at=at, skipped_count=2, started_at=at, write=write)
        self._agree(lambda store: store.tick(tick))
        self.look_at(gid, 0)

    @rule(now_at=st.sampled_from([0.0, 1.0, 2.0, 9.0]))
    def ask_for_schedules(self, now_at: float) -> None:
        self._agree(lambda store: store.schedules())
        self._agree(lambda store: store.due_schedules(now_at))

    @rule(now_at=instants)
    def ask_what_is_loaded_and_who_waits(self, now_at: float) -> None:
        self._agree(lambda store: store.loaded(now_at))
        self._agree(lambda store: dict(store.waiting_places(["g", "p", "P", "p ", "ü p"])))

    @rule(node=nodes, now_at=instants, lives_s=st.floats(0, 1e6))
    def beat(self, node: str, now_at: float, lives_s: float) -> None:
        self.beat_at = max(self.beat_at, now_at)
        self._agree(lambda store: store.beat(node, now_at, now_at + lives_s))

    @rule(node=nodes, now_at=instants)
    def release(self, node: str, now_at: float) -> None:
        self._agree(lambda store: store.release(node, now_at))

    @rule(category=categories, key=gids, value=texts, version=st.integers(0, 3), now_at=instants)
    def put_kv(self, category: str, key: str, value: str, version: int, now_at: float) -> None:
        """With a version that fits, or not."""

        def put(store: Store) -> type[Exception] | None:
            try:
                store.kv_put(category, key, value, version=version, now_at=now_at)
            except JournalError as error:
                return type(error)
            return None

        self._agree(put)

    @rule(category=categories, key=gids)
    def delete_kv(self, category: str, key: str) -> None:
        self._agree(lambda store: store.kv_delete(category, key))

    # --- reading ---

    @rule(category=st.just("") | categories, key=st.just("") | gids, limit=st.integers(1, 3))
    def list_kv(self, category: str, key: str, limit: int) -> None:
        def pages(store: Store) -> list[KvEntry]:
            found: list[KvEntry] = []
            before_id: int | None = None
            while page := store.kv_page(category, key, before_id=before_id, limit=limit):
                found += [msgspec.structs.replace(entry, id=0) for entry in page]
                before_id = page[-1].id
            return found

        self._agree(pages)

    @rule(gid=gids, from_seq=st.integers(0, 4))
    def look_at(self, gid: str, from_seq: int) -> None:
        self._agree(lambda store: _without_id(store.transaction(gid)))
        self._agree(lambda store: store.history(gid, from_seq))
        self._agree(lambda store: store.histories(["g", gid, "ü"], from_seq * 3))

    @rule(wanted=filters, limit=st.integers(1, 3))
    def list_pages(self, wanted: Filter, limit: int) -> None:
        def pages(store: Store) -> list[list[Transaction]]:
            found: list[list[Transaction]] = []
            before_id: int | None = None
            while page := store.transactions(wanted, before_id=before_id, limit=limit):
                found.append(_without_ids(page))
                before_id = page[-1].id
            return found

        self._agree(pages)

    @rule(workflows=loaded)
    def ask_next_wake_at(self, workflows: Sequence[tuple[str, str]]) -> None:
        self._agree(lambda store: store.next_wake_at(workflows))

    @rule(node=nodes, since_at=instants)
    def ask_what_is_owned(self, node: str, since_at: float) -> None:
        self._agree(lambda store: sorted(store.owned(node)))
        self._agree(lambda store: sorted(store.nudged(node, since_at)))

    # --- opening ---

    @precondition(lambda self: any(maker.persists for maker in self.makers))
    @rule()
    def reopen(self) -> None:
        """Close and open every store that persists; the others go on."""
        for number, (maker, name) in enumerate(zip(self.makers, self.names, strict=True)):
            if maker.persists:
                self.stores[number].close()
                self.stores[number] = maker.open(name)


def stores_agree(*makers: StoreMaker) -> type[RuleBasedStateMachine]:
    """A state machine that drives these stores in lock-step with ``MemoryStore`` as the oracle.

    Run it with ``hypothesis.stateful.run_state_machine_as_test``, or take its ``TestCase``.
    """
    return type("Agreement", (_Agreement,), {"makers": makers})


def _without_id(transaction: Transaction | None) -> Transaction | None:
    return None if transaction is None else msgspec.structs.replace(transaction, id=0)


def _without_ids(transactions: Sequence[Transaction]) -> list[Transaction]:
    return [msgspec.structs.replace(transaction, id=0) for transaction in transactions]
