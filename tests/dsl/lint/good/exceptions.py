"""Exceptions and constants of modules that may not be called are values like others."""

import sqlite3
import subprocess
import time

import httpx
import requests
import socket
import trio
from flowtx import Abort, Tx, workflow


HOST = socket.gethostname()
CLIENT = httpx.Client()


def ask(url: str) -> str:
    return CLIENT.get(url).text


def now() -> float:
    return time.time()


@workflow
async def raising(tx: Tx, url: str) -> str:
    try:
        return await tx.step(ask, url)
    except (requests.ConnectionError, httpx.HTTPError, sqlite3.IntegrityError, trio.TooSlowError) as error:
        raise Abort(str(error)) from error
    except subprocess.CalledProcessError:
        raise trio.TooSlowError() from None
    finally:
        print(socket.AF_INET, HOST.upper(), await_nothing())


def await_nothing() -> str:
    return "".join(["a", "b"])


@workflow
async def builtin_as_step(tx: Tx, name: str) -> float:
    await tx.step(time.sleep, 1)
    await tx.step(time.time)
    return await tx.step(now)
