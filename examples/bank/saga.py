"""The transfer as a DTM saga: what any client in any language sends to the server.

    python -m examples.bank.saga http://127.0.0.1:36789 t-1 http://127.0.0.1:8001 http://127.0.0.1:8002 alice bob 3000

The law of this file: the standard library is enough. Nothing here knows flowtx; it speaks the DTM protocol.
"""

import json
import sys
from collections.abc import Mapping
from urllib.error import HTTPError
from urllib.request import Request, urlopen


def transfer_saga(
    gid: str, *, payer_bank: str, payee_bank: str, payer: str, payee: str, cents: int
) -> dict[str, object]:
    """The saga as the server wants it: each step's URLs, and each step's body as text, in the same order."""
    return {
        "gid": gid,
        "trans_type": "saga",
        "steps": [
            {"action": f"{payer_bank}/withdraw", "compensate": f"{payer_bank}/withdraw-back"},
            {"action": f"{payee_bank}/deposit", "compensate": f"{payee_bank}/deposit-back"},
        ],
        "payloads": [
            json.dumps({"account": payer, "cents": cents}),
            json.dumps({"account": payee, "cents": cents}),
        ],
        "retry_interval": 1,  # seconds to the first retry; each further pause is twice as long
    }


def submit(server: str, saga: Mapping[str, object], *, wait: bool) -> tuple[int, str]:
    """Hand the saga over; returns the answer's status and text.

    Without ``wait`` the answer comes as soon as the saga is durable. With it the answer is the outcome: 200 when the
    saga succeeded, 409 when it is being taken back.
    """
    body = json.dumps({**saga, "wait_result": wait}).encode()
    headers = {"Content-Type": "application/json"}
    try:
        with urlopen(Request(f"{server}/api/dtmsvr/submit", body, headers), timeout=60) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def main() -> int:
    """Submit one transfer and print the server's answer."""
    if len(sys.argv) != 8:
        print("usage: python -m examples.bank.saga SERVER GID PAYER_BANK PAYEE_BANK PAYER PAYEE CENTS", file=sys.stderr)
        return 2
    server, gid, payer_bank, payee_bank, payer, payee, cents = sys.argv[1:]
    saga = transfer_saga(gid, payer_bank=payer_bank, payee_bank=payee_bank, payer=payer, payee=payee, cents=int(cents))
    status, text = submit(server, saga, wait=True)
    print(f"{status} {text}")
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
