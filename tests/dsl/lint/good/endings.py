"""Handlers that let pass what they must, and clean-up that does not wait."""

import contextlib

from flowtx import Abort, Refused, Cancelled, Tx, workflow


def withdraw(cents: int) -> None:
    print(cents)


@workflow
async def careful(tx: Tx, cents: int) -> str:
    try:
        await tx.step(withdraw, cents)
    except Refused:
        await tx.step(withdraw, cents - 1)
    except Exception as error:
        raise Abort("it went wrong") from error
    else:
        await tx.sleep(1)
    try:
        await tx.step(withdraw, cents)
    except BaseException:
        print("passing on")
        raise
    try:
        await tx.step(withdraw, cents)
    except BaseException as error:
        if cents:
            print("some")
            raise
        else:
            raise error
    try:
        await tx.step(withdraw, cents)
    except (GeneratorExit, Cancelled):
        raise
    except BaseException as error:
        print(error)
    try:
        number = int("1")
    except:  # noqa: E722 - nothing waits here
        number = 0
    try:
        await tx.step(withdraw, cents)
    finally:
        print("done", number)
    with contextlib.suppress(Refused, ValueError):
        await tx.step(withdraw, cents)

    async def nested() -> None:
        await tx.sleep(1)

    try:
        later = nested
    except BaseException:
        later = None
    async with contextlib.AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(tx.open_nursery())
        nursery.start_soon(nested)
    return str(later)
