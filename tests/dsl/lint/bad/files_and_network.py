"""Files, databases and participants that workflows talk to themselves."""

import os
import shutil
import socket
import sqlite3
import sys
import tempfile
import urllib.request
from pathlib import Path

import httpx
import requests
from flowtx import Tx, workflow
from requests import post as send


@workflow
async def report(tx: Tx, name: str, folder: str) -> str:
    with open(name) as file:  # expect: FTX004
        text = file.read()
    place = Path(folder) / name
    text += place.read_text()  # expect: FTX004
    (place.parent / "copy.txt").write_text(text)  # expect: FTX004
    if place.exists() or os.path.exists(name):  # expect: FTX004, FTX004
        os.remove(name)  # expect: FTX004
    answer = requests.get("http://bank/balance")  # expect: FTX004
    send("http://bank/deposit", json={"cents": 1})  # expect: FTX004
    quick = httpx.get("http://bank/balance")  # expect: FTX004
    connection = socket.create_connection(("bank", 80))  # expect: FTX004
    books = sqlite3.connect("bank.db")  # expect: FTX004
    shutil.copy(name, folder)  # expect: FTX004
    scratch = tempfile.mkdtemp()  # expect: FTX004
    page = urllib.request.urlopen("http://bank/")  # expect: FTX004
    asked = input("really? ")  # expect: FTX004
    typed = sys.stdin.readline()  # expect: FTX004
    return f"{answer}{quick}{connection}{books}{scratch}{page}{asked}{typed}"


CLIENT = httpx.AsyncClient()
BOOKS = sqlite3.connect("bank.db")


@workflow
async def through_the_module(tx: Tx, url: str) -> str:
    answer = await CLIENT.get(url)  # expect: FTX004
    row = BOOKS.execute("SELECT 1").fetchone()  # expect: FTX004
    return f"{answer}{row}"


@workflow
async def client(tx: Tx, url: str) -> int:
    async with httpx.AsyncClient() as http:  # expect: FTX004
        answer = await http.get(url)  # expect: FTX011
    return int(answer.status_code)


@workflow
async def listing(tx: Tx, folder: str) -> int:
    return len(sorted(os.listdir(folder)))  # expect: FTX004
