"""The local bank's steps: whatever is repeated, late or taken back, the balance is what the protocol says."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flowtx
from examples.bank import local
from examples.bank.transfer import Transfer, transfer
from flowtx_dsl.current import CurrentStep, reset_current_step, set_current_step

PAIRS = [(local.withdraw, local.withdraw_back, -100), (local.deposit, local.deposit_back, 100)]


def ask(fn: Callable[[str, int], None], gid: str, address: str) -> None:
    """Call a step's function as the engine would."""
    before = set_current_step(CurrentStep(gid=gid, address=address, key=f"{gid}/{address}", attempt=1))
    try:
        fn("alice", 100)
    finally:
        reset_current_step(before)


@settings(max_examples=40)  # each makes a database, and a busy disk takes its time
@given(st.lists(st.tuples(st.sampled_from(["g-1", "g-2"]), st.booleans()), max_size=8), st.sampled_from(PAIRS))
def test_any_order_and_repetition_leaves_the_balance_as_the_protocol_says(
    calls: list[tuple[str, bool]], pair: tuple[Callable[[str, int], None], Callable[[str, int], None], int]
) -> None:
    step, step_back, change = pair
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("BANK_DB", str(Path(folder, "bank.db")))
        local.open_bank({"alice": 1_000})
        for gid, forward in calls:
            ask(*((step, gid, "0") if forward else (step_back, gid, "0/c")))
        asked = {gid for gid, forward in calls if forward}
        taken_back = {gid for gid, forward in calls if not forward}
        assert local.balances() == {"alice": 1_000 + change * len(asked - taken_back)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BANK_DB", str(tmp_path / "bank.db"))
    local.open_bank({"dora": 5_000, "emil": 0})
    return tmp_path


async def test_the_transfer_moves_the_money(folder: Path) -> None:
    async with flowtx.open(f"sqlite:///{folder / 'flowtx.db'}") as engine:
        result = await engine.run(transfer, Transfer(payer="dora", payee="emil", cents=1_250), gid="t-1")
    assert result == "dora paid emil 1250 cents"
    assert local.balances() == {"dora": 3_750, "emil": 1_250}


@pytest.mark.parametrize(
    ("payee", "cents", "reason"),
    [("emil", 5_001, "dora has 5000 cents, 5001 are needed"), ("carol", 1, "there is no account carol")],
)
async def test_a_transfer_that_is_refused_moves_nothing(folder: Path, payee: str, cents: int, reason: str) -> None:
    async with flowtx.open(f"sqlite:///{folder / 'flowtx.db'}") as engine:
        with pytest.raises(flowtx.TransactionFailed, match=reason):
            await engine.run(transfer, Transfer(payer="dora", payee=payee, cents=cents), gid="t-1")
    assert local.balances() == {"dora": 5_000, "emil": 0}
