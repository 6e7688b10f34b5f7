"""Libraries of others in workflows: event loops, HTTP clients, databases, processes, queues."""

import asyncio
import concurrent.futures
import contextlib
import logging
import subprocess
import urllib.request
from asyncio import gather, sleep
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import boto3
import httpx
import redis
import sqlalchemy
import trio
from trio import open_nursery

from flowtx import Tx, workflow

client = httpx.Client()
log = logging.getLogger(__name__)

try:
    import orjson as json
except ImportError:
    import json

try:
    from tomllib import load as read_toml
except ImportError:
    from tomli import load as read_toml


def fetch(url: str) -> str:
    return url


async def fetch_async(url: str) -> str:
    await trio.sleep(0)
    return url


async def ticks(count: int):
    for i in range(count):
        yield i


@workflow
async def foreign(tx: Tx, url: str) -> str:
    await trio.sleep(1)  # expect: FTX010
    await sleep(1)  # expect: FTX010
    await gather(tx.step(fetch, url), tx.step(fetch, url))  # expect: FTX010
    async with open_nursery() as nursery:  # expect: FTX010
        nursery.start_soon(fetch_async, url)
    with trio.move_on_after(5):  # expect: FTX010
        await tx.sleep(10)
    async with asyncio.timeout(3):  # expect: FTX010
        await tx.sleep(10)
    await asyncio.to_thread(fetch, url)  # expect: FTX010
    with anyio.fail_after(3):  # expect: FTX010
        await tx.sleep(10)
    async with httpx.AsyncClient() as session:  # expect: FTX004
        await session.get(url)  # expect: FTX011
    body = client.get(url).text  # expect: FTX004
    raw = urllib.request.urlopen(url).read()  # expect: FTX004
    text = Path(url).read_text()  # expect: FTX004
    with open(url) as file, contextlib.suppress(ValueError):  # expect: FTX004
        text += file.read()
    store = redis.Redis()  # expect: FTX004
    database = sqlalchemy.create_engine(url)  # expect: FTX004
    bucket = boto3.client("s3")  # expect: FTX004
    with ThreadPoolExecutor() as pool:  # expect: FTX005
        pool.submit(fetch, url)
    with concurrent.futures.ProcessPoolExecutor():  # expect: FTX005
        pass
    subprocess.check_output(["ls"])  # expect: FTX005
    await fetch_async(url)  # expect: FTX011
    async for tick in ticks(3):  # expect: FTX011
        log.info("tick %s", tick)
    doubled = [tick * 2 async for tick in ticks(3)]  # expect: FTX011
    lock = asyncio.Lock()  # expect: FTX010
    return f"{body}{raw}{text}{store}{database}{bucket}{doubled}{lock}{json}{read_toml}"
