"""The client over JSON-RPC, with participants that speak it too: against `flowtx serve`, and DTM itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from flowtx.client.async_client import AsyncDtmClient
from flowtx.client.errors import BranchFault, ServerRefused
from flowtx.client.options import Options
from flowtx.client.saga import Saga, SagaStep
from flowtx.client.sync_client import DtmClient
from flowtx_dsl.errors import Ongoing, Refused
from tests.flowtx.client.conftest import Addresses, Patience, Runner, ended, over
from tests.flowtx.client.genuine import GenuineDtm

SOON = Options(retry_interval_s=1, wait_result=True, request_timeout_s=20)


@dataclass
class RpcBank:
    """Participants over JSON-RPC, by method; and one that answers with an error of its own."""

    host: GenuineDtm
    calls: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])
    errors: dict[str, int] = field(default_factory=dict[str, int])

    def url(self, method: str) -> str:
        return f"{self.host.url}/rpc?method={method}"

    def answer(self, query: dict[str, str], body: bytes) -> tuple[int, bytes]:
        asked = msgspec.json.decode(body, type=dict[str, Any])
        params = asked["params"]
        what = f"{params['op']} {asked['method']}"
        self.calls.append((what, params.get("cents")))
        said: dict[str, Any] = {"jsonrpc": "2.0", "id": asked["id"]}
        if what in self.errors:
            said["error"] = {"code": self.errors[what], "message": "no money"}
        else:
            said["result"] = {"paid": params.get("cents")}
        return 200, msgspec.json.encode(said)


@pytest.fixture
def rpc_bank(dtm_server: GenuineDtm) -> RpcBank:
    bank = RpcBank(dtm_server)
    dtm_server.participants["/rpc"] = bank.answer
    return bank


def test_a_saga_over_json_rpc(addresses: Addresses, rpc_bank: RpcBank, gid: str, until_final: Patience) -> None:
    dtm = DtmClient(addresses.json_rpc)
    assert dtm.new_gid() != dtm.new_gid()
    step = SagaStep(action=rpc_bank.url("out"), compensate=rpc_bank.url("back"), payload={"cents": 30})
    dtm.submit(Saga(gid=gid, steps=(step,), options=SOON))
    assert ended(addresses, gid, until_final) == "succeed"
    assert rpc_bank.calls == [("action out", 30)]
    # Both servers say it so: the gid is spent.
    with pytest.raises(ServerRefused, match="cannot sumbmit"):
        dtm.submit(Saga(gid=gid, steps=(step,), options=SOON))


def rpc_urls(bank: RpcBank, method: str) -> dict[str, str]:
    return {"try_": bank.url(method), "confirm": bank.url(method), "cancel": bank.url(method)}


def test_a_tcc_over_json_rpc(
    addresses: Addresses, rpc_bank: RpcBank, gid: str, runner: Runner, until_final: Patience
) -> None:
    def sync(dtm: DtmClient) -> Any:
        with dtm.tcc(gid, options=SOON) as tcc:
            return tcc.call_branch(**rpc_urls(rpc_bank, "out"), payload={"cents": 30}).read(dict[str, int])

    async def other(dtm: AsyncDtmClient) -> Any:
        async with dtm.tcc(gid, options=SOON) as tcc:
            return (await tcc.call_branch(**rpc_urls(rpc_bank, "out"), payload={"cents": 30})).read(dict[str, int])

    assert over(runner, addresses.json_rpc, sync, other) == {"paid": 30}
    assert ended(addresses, gid, until_final) == "succeed"
    assert rpc_bank.calls == [("try out", 30), ("confirm out", 30)]


@pytest.mark.parametrize(("code", "expected"), [(-32901, Refused), (-32902, Ongoing), (-32603, BranchFault)])
def test_a_try_over_json_rpc_that_fails_aborts(
    addresses: Addresses, rpc_bank: RpcBank, gid: str, code: int, expected: type[Exception], until_final: Patience
) -> None:
    rpc_bank.errors["try out"] = code
    dtm = DtmClient(addresses.json_rpc)
    with pytest.raises(expected, match="no money"), dtm.tcc(gid, options=SOON) as tcc:
        tcc.call_branch(**rpc_urls(rpc_bank, "out"), payload={"cents": 30})
    assert ended(addresses, gid, until_final) == "failed"


def test_a_payload_that_json_rpc_has_no_place_for_aborts(addresses: Addresses, rpc_bank: RpcBank, gid: str) -> None:
    dtm = DtmClient(addresses.json_rpc)
    with pytest.raises(BranchFault, match=r"has the payload \[1\], expected an object"), dtm.tcc(gid) as tcc:
        tcc.call_branch(**rpc_urls(rpc_bank, "out"), payload=[1])
    assert [what for what, _ in rpc_bank.calls] == []
