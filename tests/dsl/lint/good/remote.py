"""Remote participants, targets made by factories, partials, and methods as steps."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import flowtx
from bank import target_of_bank
from flowtx import HttpTarget, Tx


@dataclass(frozen=True)
class Payment:
    account: str
    cents: int


class Mail:
    def send(self, text: str) -> None:
        print(text)

    @staticmethod
    def send_static(text: str) -> None:
        print(text)


MAIL = Mail()


def target(url: str) -> HttpTarget[Payment]:
    return flowtx.http(url, result=Payment)


def chosen(name: str) -> Callable[[str], None]:
    return MAIL.send if name else Mail.send_static


TARGETS = {"hotel": flowtx.http("http://hotel/book")}


def looked_up(name):
    return TARGETS[name]


class Sender:
    def __call__(self, text: str) -> None:
        print(text)


def sender() -> Sender:
    return Sender()


def made(prefix: str):
    def send(text: str) -> None:
        print(prefix + text)

    return send


def plus(first: str, text: str) -> None:
    print(first, text)


@flowtx.workflow
async def pay(tx: Tx, payment: Payment, bank: str) -> str:
    await tx.step(flowtx.http(f"{bank}/withdraw"), payment, compensate=flowtx.http(f"{bank}/withdraw-back"))
    await tx.step(target(f"{bank}/deposit"), payment)
    await tx.step(target_of_bank(bank), payment)
    await tx.step(chosen("mail"), "hello")
    await tx.step(made("> "), "hello")
    await tx.step(MAIL.send, "hello")
    await tx.step(looked_up("hotel"), "hello")
    await tx.step(sender(), "hello")
    await tx.step(Mail.send_static, "hello")
    await tx.step(partial(plus, "hello"), "you")

    def local(cents: int) -> int:
        return open("/dev/null").fileno() + cents

    total = await tx.step(local, payment.cents)
    return f"{total}"
