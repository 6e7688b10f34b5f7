"""Threads and processes that workflows start."""

import multiprocessing
import os
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

from flowtx import Tx, workflow

LOCK = threading.Lock()


@workflow
async def busy(tx: Tx, count: int) -> int:
    threading.Thread(target=print).start()  # expect: FTX005
    subprocess.run(["true"], check=True)  # expect: FTX005
    os.system("true")  # expect: FTX005
    process = multiprocessing.Process(target=print)  # expect: FTX005
    with ThreadPoolExecutor() as pool:  # expect: FTX005
        pool.submit(print)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # expect: FTX005
    with LOCK:  # expect: FTX005
        LOCK.release()  # expect: FTX005
    return count + (process.pid or 0)
