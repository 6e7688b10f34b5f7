"""Every journal passes the conformance kit."""

import itertools
from pathlib import Path

import pytest

from flowtx.testing.faulty_store import FaultyStore
from flowtx.testing.journal_conformance import CASES, Case, StoreMaker, check_store
from flowtx_engine.journal.codec import PayloadContext
from flowtx_engine.journal.encoded import EncodedStore
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.journal.sql import SqlStore, open_sqlite

PERSISTS = {
    "memory": False, "faulty memory": False, "encoded memory": False, "sqlite": True, "faulty sqlite": True,
    "encoded sqlite": True,
}  # fmt: skip


class Reversed:
    """The plainest codec there is: backwards, and salted, so that no two encodings are equal."""

    def __init__(self) -> None:
        self._salt = itertools.count()

    def encode(self, payload: bytes, context: PayloadContext) -> bytes:
        return next(self._salt).to_bytes(4) + str(context).encode() + payload[::-1]

    def decode(self, stored: bytes, context: PayloadContext) -> bytes:
        place = str(context).encode()
        assert stored[4:].startswith(place), f"{context} was written elsewhere: {stored!r}"
        return stored[4 + len(place) :][::-1]


def maker(kind: str, folder: Path) -> StoreMaker:
    def sqlite(name: str) -> SqlStore:
        return open_sqlite(f"sqlite:///{folder / name}.db")

    match kind:
        case "memory":
            return StoreMaker(name=kind, open=lambda _: MemoryStore(), persists=False)
        case "faulty memory":
            return StoreMaker(name=kind, open=lambda _: FaultyStore(MemoryStore()), persists=False)
        case "encoded memory":
            return StoreMaker(name=kind, open=lambda _: EncodedStore(MemoryStore(), Reversed()), persists=False)
        case "encoded sqlite":
            return StoreMaker(name=kind, open=lambda name: EncodedStore(sqlite(name), Reversed()), persists=True)
        case "sqlite":
            return StoreMaker(name=kind, open=sqlite, persists=True)
        case _:
            return StoreMaker(name=kind, open=lambda name: FaultyStore(sqlite(name)), persists=True)


@pytest.mark.parametrize(
    ("kind", "case"),
    [
        pytest.param(kind, case, id=f"{kind}: {case}")
        for kind in PERSISTS
        for case in CASES
        if PERSISTS[kind] or not case.needs_persistence
    ],
)
def test_the_store_conforms(kind: str, case: Case, tmp_path: Path) -> None:
    case.check(maker(kind, tmp_path))


def test_the_kit_names_the_case_that_fails() -> None:
    class Forgetful(MemoryStore):
        def owned(self, node: str) -> list[str]:
            del node
            return []

    with pytest.raises(AssertionError, match="expected:") as caught:
        check_store(StoreMaker(name="forgetful", open=lambda _: Forgetful(), persists=False))
    assert any("in the case" in note for note in caught.value.__notes__)


def test_the_kit_passes_a_good_store_as_a_whole(tmp_path: Path) -> None:
    check_store(maker("sqlite", tmp_path))
