"""The example's codecs: they round trip, encrypt, change keys, and say what is wrong with a key; with a real engine."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest
import trio
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

import flowtx
from examples.payloads.codecs import AesGcm, Chain, FernetKeys, Zlib, from_environment

FERNET = Fernet.generate_key()
OLD, NEW = AesGcm({"k1": b"1" * 32}, "k1"), AesGcm({"k1": b"1" * 32, "k2": b"2" * 32}, "k2")
CODECS = [Zlib(), OLD, NEW, FernetKeys(FERNET), Chain(Zlib(), NEW), Chain(Zlib(), FernetKeys(FERNET))]
PLACE = flowtx.PayloadContext(gid="g", field="input")

told: list[str] = []


@pytest.mark.parametrize("codec", CODECS, ids=repr)
@given(payload=st.binary(max_size=200) | st.binary(max_size=20).map(lambda some: some * 50))
def test_what_is_decoded_is_what_was_encoded(codec: flowtx.PayloadCodec, payload: bytes) -> None:
    assert codec.decode(codec.encode(payload, PLACE), PLACE) == payload


def test_zlib_makes_long_payloads_short_and_short_ones_hardly_longer() -> None:
    assert len(Zlib().encode(b"ab" * 10_000, PLACE)) < 100
    assert len(Zlib().encode(b"{}", PLACE)) == 3


def test_a_new_key_reads_what_the_old_one_wrote_and_not_the_other_way_round() -> None:
    written = OLD.encode(b"payload", PLACE)
    assert NEW.decode(written, PLACE) == b"payload"
    with pytest.raises(LookupError, match="no key 'k2', only k1"):
        OLD.decode(NEW.encode(b"payload", PLACE), PLACE)
    with pytest.raises(ValueError, match="key 'k1' did not encrypt this"):
        AesGcm({"k1": b"3" * 32}, "k1").decode(written, PLACE)
    newer = FernetKeys(Fernet.generate_key(), FERNET)
    assert newer.decode(FernetKeys(FERNET).encode(b"payload", PLACE), PLACE) == b"payload"
    with pytest.raises(ValueError, match="none of the keys"):
        FernetKeys(FERNET).decode(newer.encode(b"payload", PLACE), PLACE)


def test_what_was_encrypted_for_one_place_is_refused_at_another() -> None:
    with pytest.raises(ValueError, match="or it was changed"):
        NEW.decode(NEW.encode(b"payload", PLACE), flowtx.PayloadContext(gid="other", field="input"))


def tell(name: str) -> str:
    told.append(name)
    return f"told {name}"


@flowtx.workflow
async def whisper(tx: flowtx.Tx, name: str, pause_s: float) -> str:
    answer = await tx.step(tell, name)
    await tx.sleep(pause_s)
    if name.endswith("nobody"):
        raise flowtx.Abort(f"there is no {name}")
    return f"{answer} {await tx.step(tell, name)}"


@pytest.fixture
def url(tmp_path: Path) -> str:
    told.clear()
    return f"sqlite:///{tmp_path / 'bank.db'}"


def dump(url: str) -> str:
    """Everything the file holds."""
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return repr([db.execute(f"SELECT * FROM {table}").fetchall() for table in tables])


def journal_of_the_first(url: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as db:
        return db.execute("SELECT * FROM flowtx_journal WHERE transaction_id = 1").fetchall()


@pytest.mark.parametrize("codec", CODECS[1:], ids=repr)
async def test_the_file_holds_neither_inputs_nor_results_nor_reasons(url: str, codec: flowtx.PayloadCodec) -> None:
    async with flowtx.open(url, codec=codec) as engine:
        assert await engine.run(whisper, "secret", 0.0, gid="t-1") == "told secret told secret"
        with pytest.raises(flowtx.TransactionFailed, match="there is no secret-nobody"):
            await engine.run(whisper, "secret-nobody", 0.0, gid="t-2")
        failed = await engine.transaction("t-2")
    assert failed is not None
    assert failed.reason == "there is no secret-nobody"
    rows = dump(url)
    assert "secret" not in rows
    assert "t-1" in rows
    assert "whisper" in rows


class Measured:
    """A codec that notes how long its payloads are, before another one."""

    def __init__(self, inner: flowtx.PayloadCodec) -> None:
        self._inner = inner
        self.sizes: list[int] = []

    def encode(self, payload: bytes, context: flowtx.PayloadContext) -> bytes:
        self.sizes.append(len(payload))
        return self._inner.encode(payload, context)

    def decode(self, stored: bytes, context: flowtx.PayloadContext) -> bytes:
        payload = self._inner.decode(stored, context)
        self.sizes.append(len(payload))
        return payload


def repeat(text: str) -> str:
    return text * 300_000


@flowtx.workflow
async def shout(tx: flowtx.Tx, text: str, pause_s: float) -> str:
    loud = await tx.step(repeat, text)
    await tx.sleep(pause_s)
    return loud


@pytest.mark.parametrize("codec", CODECS[1:], ids=repr)
async def test_a_large_payload_is_encoded_piece_by_piece_and_read_after_a_restart(
    url: str, codec: flowtx.PayloadCodec
) -> None:
    limits = flowtx.EngineLimits(park_after_s=0.0)
    measured = Measured(codec)
    async with flowtx.open(url, codec=measured, limits=limits) as engine:
        await engine.start(shout, "secret", 0.3, gid="t-1")
        await engine.rest("t-1", timeout_s=5)
    assert "secret" not in dump(url)
    async with flowtx.open(url, codec=measured, workflows=[shout], limits=limits) as engine:
        assert await engine.wait("t-1") == "secret" * 300_000
    assert max(measured.sizes) == 512 * 1024


async def test_the_key_changes_while_a_run_waits_and_the_run_goes_on(url: str) -> None:
    limits = flowtx.EngineLimits(park_after_s=0.0)
    async with flowtx.open(url, codec=OLD, limits=limits) as engine:
        await engine.start(whisper, "secret", 0.3, gid="t-1")
        await engine.rest("t-1", timeout_s=5)
    async with flowtx.open(url, codec=NEW, workflows=[whisper], limits=limits) as engine:
        assert await engine.wait("t-1") == "told secret told secret"
    assert told == ["secret", "secret"]


@pytest.mark.parametrize(
    ("codec", "complaint"),
    [
        (AesGcm({"k3": b"3" * 32}, "k3"), "there is no key 'k1', only k3"),
        (AesGcm({"k1": b"3" * 32}, "k1"), "key 'k1' did not encrypt this"),
        (None, "there is no codec here that decodes it"),
    ],
    ids=["no key", "another key", "no codec"],
)
async def test_with_the_wrong_key_the_run_waits_as_it_is_until_the_right_one_comes(
    url: str, codec: flowtx.PayloadCodec | None, complaint: str
) -> None:
    limits = flowtx.EngineLimits(park_after_s=0.0, poll_s=0.05)
    async with flowtx.open(url, codec=OLD, limits=limits) as engine:
        await engine.start(whisper, "secret", 0.1, gid="t-1")
        await engine.rest("t-1", timeout_s=5)
    before = journal_of_the_first(url)
    async with flowtx.open(url, codec=codec, workflows=[whisper], limits=limits) as engine:
        with trio.fail_after(20), pytest.raises(flowtx.UnreadablePayload, match=complaint):
            await engine.wait("t-1")
        with pytest.raises(flowtx.UnreadablePayload, match=complaint):
            await engine.start(whisper, "secret", 0.1, gid="t-1")
        with pytest.raises(flowtx.UnreadablePayload, match=complaint):
            await engine.cancel("t-1")
        assert await engine.run(whisper, "other", 0.0, gid="t-2") == "told other told other"
        (listed,) = await engine.transactions(flowtx.Filter(unfinished=True))
        assert listed.gid == "t-1"
    assert told == ["secret", "other", "other"]
    assert journal_of_the_first(url) == before
    async with flowtx.open(url, codec=OLD, workflows=[whisper], limits=limits) as engine:
        assert await engine.wait("t-1") == "told secret told secret"


def test_the_command_line_gets_its_codec_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAYLOAD_KEYS", raising=False)
    with pytest.raises(LookupError, match="PAYLOAD_KEYS holds no keys"):
        from_environment()
    monkeypatch.setenv("PAYLOAD_KEYS", f"k2:{os.urandom(32).hex()} k1:{os.urandom(32).hex()}")
    assert repr(from_environment()) == "Chain(Zlib(), AesGcm(newest='k2'))"
