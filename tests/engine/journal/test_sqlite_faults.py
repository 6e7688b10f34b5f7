"""What can be wrong with a SQLite file, said in words a person can act on; and going on when it is mended."""

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import trio

from flowtx.testing.journal_writes import begin, step
from flowtx_engine.journal.errors import (
    JournalClosed,
    JournalError,
    JournalUnavailable,
    JournalUrlError,
    SchemaError,
)
from flowtx_engine.journal.journal import Journal
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.journal.records import Filter, Write
from flowtx_engine.journal.resolve import append_surely
from flowtx_engine.journal.sql import SqlStore, open_sqlite, open_store, upgrade_store
from flowtx_engine.journal.sql_errors import translated

IS_ROOT = os.geteuid() == 0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def gids(store: SqlStore) -> set[str]:
    return {one.gid for one in store.transactions(Filter(), before_id=None, limit=10_000)}


# --- URLs ---


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite://", "names no file\n  -> Use memory:// "),
        ("sqlite:///", "names no file\n  -> Use memory:// "),
        ("sqlite:///:memory:", "names no file\n  -> Use memory:// "),
        ("sqlite://host/bank.db", "names more than a file\n  -> Use sqlite:///relative.db"),
        ("sqlite:///bank.db?mode=ro", "names more than a file"),
        ("bank.db", "'bank.db' is not the URL of a database\n  -> Use sqlite:///path/to/file.db"),
        ("", "'' is not the URL of a database"),
        ("postgresql://user:secret@host/bank", "journals in postgresql are not supported yet"),
        ("mysql://host/bank", "journals in mysql are not supported yet"),
        ("redis://host", "journals in redis are not supported yet"),
    ],
)
def test_a_url_that_names_no_journal_is_refused_with_one_that_would(url: str, words: str) -> None:
    for opening in (open_store, open_sqlite, upgrade_store):
        with pytest.raises(JournalUrlError) as caught:
            opening(url)
        assert words in str(caught.value)
        assert "secret" not in str(caught.value)


def test_the_url_of_memory_is_a_journal_in_memory() -> None:
    assert isinstance(open_store("memory://"), MemoryStore)
    with pytest.raises(JournalUrlError, match="'memory://' lives with its process"):
        upgrade_store("memory://")


def test_odd_file_names_are_file_names(tmp_path: Path) -> None:
    for name in ("a b.db", "ü.db", "100%.db", "#1.db", "it's.db"):
        store = open_store(f"sqlite:///{tmp_path}/{name.replace('%', '%25')}")
        store.commit([begin("g")])
        store.close()
        assert (tmp_path / name).exists()


def test_a_relative_path_means_the_directory_at_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(tmp_path)
    with closing(open_sqlite("sqlite:///bank.db")) as store:
        monkeypatch.chdir(other)
        store.commit([begin("g")])
        assert gids(store) == {"g"}
    assert (tmp_path / "bank.db").exists()


# --- opening ---


def refusal(path: Path, **options: bool) -> str:
    with pytest.raises(JournalError) as caught:
        open_sqlite(f"sqlite:///{path}", **options)
    return str(caught.value)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert refusal(missing / "j.db") == f"the directory {missing} does not exist\n  -> Create it, or name another file."


def test_a_directory_is_no_database(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path} is a directory, not a database file\n  -> Name a file in it."


def test_a_missing_file_is_only_created_when_that_is_wanted(path: Path) -> None:
    assert f"there is no database file {path}" in refusal(path, create=False)
    assert f"there is no database file {path}" in refusal(path, create=False, migrate=False)
    assert not path.exists()


def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    path.write_bytes(b"Dear diary, " * 100)
    with pytest.raises(SchemaError, match="is not a SQLite database\n  -> Choose another file"):
        open_sqlite(f"sqlite:///{path}")
    assert path.read_bytes() == b"Dear diary, " * 100


@contextmanager
def unwritable(directory: Path, fill: Callable[[Path], object]) -> Generator[Path]:
    """A directory that may not be written to, with what ``fill`` puts into it; root needs a disk of its own."""
    directory.mkdir()
    if IS_ROOT:
        mount = shutil.which("mount")
        if mount is None or subprocess.run([mount, "-t", "tmpfs", "tmpfs", directory], check=False).returncode:
            pytest.skip("needs the right to mount a tmpfs, or to run as another user than root")
        try:
            fill(directory)
            subprocess.run([mount, "-o", "remount,ro", directory], check=True)
            yield directory
        finally:
            subprocess.run(["umount", "-l", directory], check=True)
    else:
        fill(directory)
        for each in (*directory.iterdir(), directory):
            each.chmod(0o555)
        try:
            yield directory
        finally:
            directory.chmod(0o755)


def test_a_directory_that_may_not_be_written_to_is_named(tmp_path: Path) -> None:
    with unwritable(tmp_path / "disk", lambda _: None) as directory:
        assert refusal(directory / "j.db") == f"{directory} may not be written to\n  -> Make it writable for this user."


def test_a_file_that_may_not_be_written_to_is_named(tmp_path: Path) -> None:
    with unwritable(tmp_path / "disk", lambda it: upgrade_store(f"sqlite:///{it}/j.db")) as directory:
        assert "may not be written to" in refusal(directory / "j.db")


# --- while it is open ---


def test_a_deleted_file_takes_no_more_writes_and_none_is_created_in_its_place(path: Path) -> None:
    with closing(open_sqlite(f"sqlite:///{path}")) as store:
        store.commit([begin("g")])
        path.rename(path.with_suffix(".away"))
        with pytest.raises(JournalUnavailable, match=f"the database file {path} is gone: No such file"):
            store.commit([begin("h")])
        with pytest.raises(JournalUnavailable, match="is gone"):
            store.beat("n", 1.0, 2.0)
        assert not path.exists()
        path.with_suffix(".away").rename(path)
        assert store.commit([begin("h")]) == [None]
        assert gids(store) == {"g", "h"}


def test_a_file_that_was_replaced_takes_no_writes(path: Path) -> None:
    with closing(open_sqlite(f"sqlite:///{path}")) as store:
        path.unlink()
        upgrade_store(f"sqlite:///{path}")
        with pytest.raises(JournalUnavailable, match="was replaced by another file while it was open"):
            store.commit([begin("g")])


def test_another_file_under_the_name_is_not_opened_and_the_old_one_is_read_again_when_it_is_back(path: Path) -> None:
    # SQLite would cut the WAL's index, which goes by name, under the connections that have it in memory.
    index = path.with_name(f"{path.name}-shm")
    with closing(open_sqlite(f"sqlite:///{path}")) as store:
        store.commit([begin("g")])
        before = index.read_bytes()
        path.rename(path.with_suffix(".away"))
        path.write_bytes(b"Dear diary, " * 1000)
        with pytest.raises(JournalUnavailable, match="was replaced by another file while it was open"):
            gids(store)  # by a reader that was not open yet
        assert index.read_bytes() == before
        path.with_suffix(".away").rename(path)
        assert gids(store) == {"g"}


def test_a_database_that_is_none_any_more_is_unavailable_so_that_what_outlives_that_goes_on(path: Path) -> None:
    with closing(open_sqlite(f"sqlite:///{path}")) as store:
        store.commit([begin("g")])
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        whole = path.read_bytes()
        path.write_bytes(b"Dear diary, " * 1000)  # the same file, with other words in it
        with pytest.raises(JournalUnavailable, match="was replaced"):
            gids(store)
        path.write_bytes(whole)
        assert gids(store) == {"g"}


def test_a_closed_store_says_its_name(path: Path) -> None:
    store = open_sqlite(f"sqlite:///{path}")
    store.close()
    with pytest.raises(JournalClosed, match=f"the database file {path} is closed"):
        store.transaction("g")
    assert not path.with_name("journal.db-wal").exists(), "closing puts everything into the one file"


def test_a_full_disk_is_named_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    directory = tmp_path / "disk"
    directory.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(directory)]
    if not IS_ROOT or mount is None or subprocess.run(command, check=False).returncode:
        pytest.skip("needs root and the right to mount a tmpfs of 1 MiB")
    try:
        with closing(open_sqlite(f"sqlite:///{directory}/j.db")) as store:
            acknowledged = fill(store)
            with pytest.raises(JournalUnavailable, match=r"the disk is full.*\n  -> Make room"):
                store.commit([begin("one more", input=bytes(50_000))])
            assert gids(store) == acknowledged
            subprocess.run([mount, "-o", "remount,size=8m", str(directory)], check=True)
            assert store.commit([begin("roomy", input=bytes(50_000))]) == [None]
            assert gids(store) == acknowledged | {"roomy"}
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def fill(store: SqlStore) -> set[str]:
    """Commit until the store cannot any more; returns what it acknowledged."""
    acknowledged: set[str] = set()
    for number in range(1000):
        try:
            store.commit([begin(f"g{number}", input=bytes(50_000))])
        except JournalUnavailable:
            break
        acknowledged.add(f"g{number}")
    assert 0 < len(acknowledged) < 1000, "there was no room to begin with, or there is no end of it"
    return acknowledged


def test_a_file_that_may_not_grow_loses_nothing_and_goes_on_when_it_may(path: Path) -> None:
    """The system's limit on the size of files, which needs no special right."""
    with closing(open_sqlite(f"sqlite:///{path}")) as store:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
        try:
            acknowledged = fill(store)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert store.commit([begin("after"), begin("g0")])[0] is None
        assert gids(store) == acknowledged | {"after"}


# --- locked by another process ---

HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
"""


@contextmanager
def locked(path: Path) -> Generator[Callable[[], None]]:
    """Another process holds the write lock until the function it yields is called."""
    child = subprocess.Popen([sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    stdin = child.stdin

    def release() -> None:
        if not stdin.closed:
            stdin.close()

    try:
        assert child.stdout.readline() == b"locked\n"
        yield release
    finally:
        release()
        child.stdout.close()
        assert child.wait() == 0


def test_a_lock_held_by_another_process_is_told_and_reading_goes_on(path: Path) -> None:
    with closing(open_sqlite(f"sqlite:///{path}", busy_timeout_s=0.05)) as store:
        store.commit([begin("g")])
        with locked(path):
            with pytest.raises(JournalUnavailable, match=f"{path} is locked by another process\n  -> End the process"):
                store.commit([begin("h")])
            assert gids(store) == {"g"}
        assert store.commit([begin("h")]) == [None]


def test_a_writer_waits_for_a_lock_that_is_soon_released(path: Path) -> None:
    async def main() -> None:
        store = open_sqlite(f"sqlite:///{path}", busy_timeout_s=30)
        with locked(path) as release:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.to_thread.run_sync, store.commit, [begin("g")])
                await trio.sleep(0.05)
                release()
        assert gids(store) == {"g"}
        store.close()

    trio.run(main)


def test_an_append_goes_on_by_itself_when_the_lock_is_released(path: Path) -> None:
    async def main() -> None:
        journal = Journal(open_sqlite(f"sqlite:///{path}", busy_timeout_s=0.02))
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.serve)
            with locked(path) as release, trio.fail_after(30):
                async with trio.open_nursery() as appenders:
                    for gid in "abc":
                        appenders.start_soon(surely, journal, [begin(gid), step(gid, 1)])
                    await trio.sleep(0.2)
                    assert journal.statistics().write_count == 0
                    release()
            assert [len(await journal.history(gid)) for gid in "abc"] == [2, 2, 2]
            await journal.aclose()

    trio.run(main)


def test_writers_that_waited_while_one_tried_the_lock_are_told_with_it(path: Path) -> None:
    busy_timeout_s, writers = 0.5, 12

    def fail(store: SqlStore, gid: str) -> None:
        with pytest.raises(JournalUnavailable, match="is locked by another process"):
            store.commit([begin(gid)])

    async def main() -> None:
        store = open_sqlite(f"sqlite:///{path}", busy_timeout_s=busy_timeout_s)
        with locked(path):
            began_at = trio.current_time()
            async with trio.open_nursery() as nursery:
                for number in range(writers):
                    nursery.start_soon(trio.to_thread.run_sync, fail, store, f"g-{number}")
            # One after the other they would take all of it; a third leaves room for threads that come late.
            assert trio.current_time() - began_at < writers * busy_timeout_s / 3
        assert store.commit([begin("g")]) == [None]
        store.close()

    trio.run(main)


async def surely(journal: Journal, writes: Sequence[Write]) -> None:
    for write in writes:
        await append_surely(journal, write, pause_s=0.01)


# --- the words for SQLite's own errors ---


def raised(use: Callable[[], object]) -> Exception:
    with pytest.raises(sqlite3.Error) as caught:
        use()
    return caught.value


def test_sqlites_errors_become_the_journals(path: Path) -> None:
    with closing(sqlite3.connect(path, timeout=0)) as one, closing(sqlite3.connect(path, timeout=0)) as other:
        one.execute("CREATE TABLE t (x)")
        one.execute("PRAGMA max_page_count = 2")
        full = raised(lambda: one.execute("INSERT INTO t VALUES (zeroblob(100000))"))
        one.commit()
        one.execute("BEGIN EXCLUSIVE")
        busy = raised(lambda: other.execute("SELECT * FROM t"))
        one.rollback()
        other.execute("PRAGMA query_only = ON")
        read_only = raised(lambda: other.execute("DELETE FROM t"))
        wrong = raised(lambda: other.execute("SELECT nonsense"))
    cannot_open = raised(lambda: sqlite3.connect(path / "x"))
    expected = {
        full: "it cannot grow: the disk is full",
        busy: "it is locked by another process",
        read_only: "it is read-only",
        cannot_open: "it cannot be opened: a directory is missing",
        wrong: "it failed: OperationalError: no such column: nonsense",
    }
    for error, words in expected.items():
        found = translated(error, "it")
        assert isinstance(found, JournalUnavailable)
        assert words in str(found)
        assert translated(found, "it") is found


def test_a_damaged_file_is_told_as_damaged(path: Path) -> None:
    with closing(open_sqlite(f"sqlite:///{path}")) as store:
        store.commit([begin(f"g{number}", input=bytes(3000)) for number in range(50)])
    content = bytearray(path.read_bytes())
    for page in range(1, len(content) // 4096):
        content[page * 4096 : page * 4096 + 100] = b"\xa5" * 100
    path.write_bytes(content)
    with pytest.raises(JournalUnavailable, match=r"is damaged: .*\n  -> Stop flowtx, keep a copy"):
        open_sqlite(f"sqlite:///{path}")
