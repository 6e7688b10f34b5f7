"""What tests of the SQL journal share: a way to see what goes to the database."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager

import pytest
from sqlalchemy import Connection, Engine, event

Watching = Callable[[], AbstractContextManager[list[str]]]


@contextmanager
def watching() -> Generator[list[str]]:
    """Everything that SQLAlchemy sends to any database, by first words; SAVEPOINTs come as statements of their own."""
    seen: list[str] = []

    def statement(_connection: Connection, _cursor: object, text: str, *_: object) -> None:
        seen.append(" ".join(text.split()[:3]))

    def commit(_: Connection) -> None:
        seen.append("COMMIT")

    def rollback(_: Connection) -> None:
        seen.append("ROLLBACK")

    def savepoint(_: Connection, _name: str) -> None:
        seen.append("SAVEPOINT")

    listeners: dict[str, Callable[..., None]] = {
        "before_cursor_execute": statement,
        "commit": commit,
        "rollback": rollback,
        "savepoint": savepoint,
    }
    for name, listener in listeners.items():
        event.listen(Engine, name, listener)
    try:
        yield seen
    finally:
        for name, listener in listeners.items():
            event.remove(Engine, name, listener)


@pytest.fixture
def watch() -> Watching:
    """Opens a context that watches: it gives the list that fills up."""
    return watching
