"""Handlers that eat cancellation, and clean-up that waits."""

import contextlib

import flowtx


async def withdraw(cents: int) -> None:
    print(cents)


async def release(cents: int) -> None:
    print(cents)


@flowtx.workflow
async def swallowing(tx: flowtx.Tx, cents: int) -> str:
    try:
        await tx.step(withdraw, cents)
    except:  # expect: FTX020
        return "failed"
    try:
        await tx.step(withdraw, cents)
    except BaseException as error:  # expect: FTX020
        print(error)
    try:
        await tx.step(withdraw, cents)
    except (ValueError, GeneratorExit):  # expect: FTX020
        pass
    try:
        await tx.step(withdraw, cents)
    except BaseException as error:  # expect: FTX020
        raise flowtx.Abort("it went wrong") from error
    try:
        await tx.step(withdraw, cents)
    except flowtx.Cancelled:  # expect: FTX020
        print("cancelled")
    try:
        await tx.step(withdraw, cents)
    except BaseException:  # expect: FTX020
        if cents:
            raise
    with contextlib.suppress(BaseException):  # expect: FTX020
        await tx.step(withdraw, cents)
    try:
        await tx.step(withdraw, cents)
    except* BaseException:  # expect: FTX020
        print("several")
    try:
        await tx.step(withdraw, cents)
    finally:
        return "done"  # expect: FTX020


@flowtx.workflow
async def cleaning(tx: flowtx.Tx, cents: int) -> None:
    try:
        await tx.step(withdraw, cents)
    finally:
        await tx.step(release, cents)  # expect: FTX021
    try:
        await tx.step(withdraw, cents)
    except GeneratorExit:
        await tx.step(release, cents)  # expect: FTX021
        raise
    try:
        await tx.step(withdraw, cents)
    except BaseException:
        if cents:
            await tx.sleep(1)  # expect: FTX021
        raise
