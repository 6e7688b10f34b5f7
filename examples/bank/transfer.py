"""The transfer as a workflow: once with local functions as its steps, once with two banks that are asked over HTTP."""

from dataclasses import dataclass

import flowtx
from examples.bank.local import deposit, deposit_back, withdraw, withdraw_back


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Who pays whom how much."""

    payer: str
    payee: str
    cents: int


@flowtx.workflow
async def transfer(tx: flowtx.Tx, t: Transfer) -> str:
    """Within one bank."""
    await tx.step(withdraw, t.payer, t.cents, compensate=withdraw_back)
    await tx.step(deposit, t.payee, t.cents, compensate=deposit_back)
    return f"{t.payer} paid {t.payee} {t.cents} cents"


@flowtx.workflow
async def transfer_between_banks(tx: flowtx.Tx, t: Transfer, payer_bank: str, payee_bank: str) -> str:
    """From one bank to another; the banks are given by their addresses, ``http://127.0.0.1:8001``."""
    await tx.step(
        flowtx.http(f"{payer_bank}/withdraw"),
        {"account": t.payer, "cents": t.cents},
        compensate=flowtx.http(f"{payer_bank}/withdraw-back"),
    )
    await tx.step(
        flowtx.http(f"{payee_bank}/deposit"),
        {"account": t.payee, "cents": t.cents},
        compensate=flowtx.http(f"{payee_bank}/deposit-back"),
    )
    return f"{t.payer} paid {t.payee} {t.cents} cents"
