"""Processes and machines that workflows look at."""

import os
import platform
import socket
import sys
from os import environ, getenv
from pathlib import Path

from flowtx import Tx, workflow

SETTINGS = os.environ


@workflow
async def where_am_i(tx: Tx, name: str) -> str:
    home = os.environ["HOME"]  # expect: FTX003
    user = environ.get("USER", name)  # expect: FTX003
    path = getenv("PATH")  # expect: FTX003
    first = sys.argv[1]  # expect: FTX003
    process = os.getpid()  # expect: FTX003
    host = socket.gethostname()  # expect: FTX003
    system = platform.system()  # expect: FTX003
    folder = Path.cwd()  # expect: FTX003
    mode = SETTINGS["MODE"]  # expect: FTX003
    return f"{home}{user}{path}{first}{process}{host}{system}{folder}{mode}{id(name)}{hash(name)}"  # expect: FTX009, FTX009
