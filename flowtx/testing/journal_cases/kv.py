"""Cases on key-values: versions, conflicts, paging.

The law of this file: a case gets an empty store, uses the protocol and nothing else, and raises ``AssertionError`` with
what it found and what it expected.
"""

from __future__ import annotations

from flowtx.testing.journal_cases.looks import in_threads, same
from flowtx_engine.journal.errors import ConflictError
from flowtx_engine.journal.records import KvEntry
from flowtx_engine.journal.store import Store


def check_kv_versions(store: Store) -> None:
    """A value is written on top of the version that was read."""
    same(kv(store), [], "the values of an empty journal")
    store.kv_put("topics", "t", "one", version=0, now_at=1.0)
    first = entry_of(store, "topics", "t")
    same((first.value, first.version, first.created_at, first.updated_at), ("one", 1, 1.0, 1.0), "a new value")
    store.kv_put("topics", "t", "", version=1, now_at=2.5)
    second = entry_of(store, "topics", "t")
    expected = KvEntry(id=first.id, category="topics", key="t", value="", version=2, created_at=1.0, updated_at=2.5)
    same(second, expected, "a value after its second write")
    for version in (0, 1, 3):
        conflicts(store, "t", version)
    conflicts(store, "other", 1)
    same(kv(store), [second], "the values after writes that expected something else")


def check_kv_odd_texts(store: Store) -> None:
    """Keys are compared byte by byte and values come back as they were."""
    texts = ("t", "T", "t ", "\u00fc", "\u65e5\u672c'", "a;--", "x" * 128)
    for number, text in enumerate(texts):
        store.kv_put(f"c{text[:40]}", text, text * 1000, version=0, now_at=float(number))
    for text in texts:
        same(entry_of(store, f"c{text[:40]}", text).value, text * 1000, f"the value under {text!r}")
    same(len(kv(store)), len(texts), "how many values there are")


def check_kv_deletion(store: Store) -> None:
    """A deleted value is gone, and begins again at version 1 with an id of its own."""
    store.kv_put("topics", "t", "old", version=0, now_at=1.0)
    store.kv_put("topics", "t", "newer", version=1, now_at=2.0)
    old = entry_of(store, "topics", "t")
    same(store.kv_delete("topics", "other"), False, "deleting what is not there")
    same(store.kv_delete("other", "t"), False, "deleting in another category")
    same(store.kv_delete("topics", "t"), True, "deleting what is there")
    same(store.kv_delete("topics", "t"), False, "deleting it again")
    conflicts(store, "t", 2)
    store.kv_put("topics", "u", "", version=0, now_at=3.0)
    store.kv_put("topics", "t", "new", version=0, now_at=4.0)
    again = entry_of(store, "topics", "t")
    same((again.value, again.version, again.created_at), ("new", 1, 4.0), "a value that was made again")
    assert again.id > old.id, f"ids order by creation: {again.id} came after {old.id}"


def check_kv_paging(store: Store) -> None:
    """Pages go from the newest to the oldest and hold what was asked for."""
    for number in range(7):
        store.kv_put("even" if number % 2 == 0 else "odd", f"k{number}", "", version=0, now_at=float(number))
    store.kv_put("odd", "k0", "", version=0, now_at=7.0)
    store.kv_put("even", "k2", "changed", version=1, now_at=8.0)
    same(names(kv(store, "even")), ["k6", "k4", "k2", "k0"], "the values of a category")
    same(names(kv(store, "", "k0")), ["k0", "k0"], "the values of a key")
    same(names(kv(store, "odd", "k0")), ["k0"], "the value of both")
    same(kv(store, "even", "k1"), [], "a key of another category")
    found: list[str] = []
    before_id = None
    while page := store.kv_page("even", "", before_id=before_id, limit=3):
        found += names(page)
        before_id = page[-1].id
    same(found, ["k6", "k4", "k2", "k0"], "all pages of a category, one after another")
    same(store.kv_page("", "", before_id=None, limit=0), [], "a page of none")


def check_kv_race(store: Store) -> None:
    """Of two writers on one version one wins, and the other is told."""
    won: list[int] = []

    def count_up() -> None:
        for _ in range(20):
            found = store.kv_page("c", "n", before_id=None, limit=1)
            version = found[0].version if found else 0
            try:
                store.kv_put("c", "n", str(version + 1), version=version, now_at=0.0)
            except ConflictError:
                continue
            won.append(version + 1)

    in_threads([count_up, count_up, count_up])
    entry = entry_of(store, "c", "n")
    same(sorted(won), list(range(1, entry.version + 1)), "the versions that writers say they made")
    same(entry.value, str(entry.version), "the value that the last of them wrote")


def kv(store: Store, category: str = "", key: str = "") -> list[KvEntry]:
    """All values."""
    return store.kv_page(category, key, before_id=None, limit=1000)


def names(entries: list[KvEntry]) -> list[str]:
    """Their keys."""
    return [entry.key for entry in entries]


def entry_of(store: Store, category: str, key: str) -> KvEntry:
    """The value of a category and key, which must be there."""
    found = store.kv_page(category, key, before_id=None, limit=2)
    assert len(found) == 1, f"found {len(found)} values of {category}/{key}, expected one"
    return found[0]


def conflicts(store: Store, key: str, version: int) -> None:
    """Raise ``AssertionError`` unless a write that expects this version of a topic meets a conflict."""
    try:
        store.kv_put("topics", key, "no", version=version, now_at=9.0)
    except ConflictError:
        return
    raise AssertionError(f"a write of {key!r} went through that expected version {version}")
