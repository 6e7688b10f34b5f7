"""The client's operations against a transcript of a genuine DTM server's answers, without any network."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from flowtx.client.answers import FoundBranch, FoundTransaction
from flowtx.client.errors import ClientError, ServerError, ServerOngoing, ServerRefused, ServerUnreachable
from flowtx.client.exchanges import ClientAnswer, ClientRequest
from flowtx.client.options import Options
from flowtx.client.saga import Saga, SagaStep
from flowtx.client.sync_client import DtmClient

SUCCESS = ClientAnswer(status=200, body=b'{"dtm_result":"SUCCESS"}')
BASE = "http://dtm:36789/api/dtmsvr"
SAGA = Saga(gid="g-1", steps=(SagaStep(action="http://a/out", payload={"amount": 30}),))

# What DTM answers, byte for byte.
NEW_GID = b'{"dtm_result":"SUCCESS","gid":"4nWNYmFrDVSTkMBhhyPnNT"}'
UNKNOWN_GID = b'{"branches":[],"transaction":null}'
FOUND = (
    b'{"branches":[{"id":0,"create_time":"2026-01-05T10:00:00.123Z","update_time":"2026-01-05T10:00:00.123Z",'
    b'"gid":"g-1","url":"http://a/out","bin_data":"eyJhbW91bnQiOjMwfQ==","branch_id":"01","op":"action",'
    b'"status":"failed","finish_time":"2026-01-05T10:00:01Z"}],'
    b'"transaction":{"id":0,"create_time":"2026-01-05T10:00:00.123Z","update_time":"2026-01-05T10:00:01Z",'
    b'"gid":"g-1","trans_type":"saga","steps":[{"action":"http://a/out"}],"payloads":["{\\"amount\\":30}"],'
    b'"status":"failed","protocol":"http","rollback_time":"2026-01-05T10:00:01Z",'
    b'"rollback_reason":"no money FAILURE","options":"{\\"concurrent\\":false}","next_cron_interval":10,'
    b'"next_cron_time":"2026-01-05T10:00:10Z","concurrent":false}}'
)
REFUSED = b'{"dtm_result":"FAILURE","message":"current status \'failed\', cannot sumbmit. FAILURE"}'


@dataclass
class Transcript:
    """A server that answers by script and remembers what it was asked."""

    answers: list[ClientAnswer | ServerUnreachable]
    requests: list[ClientRequest] = field(default_factory=list[ClientRequest])

    def __call__(self, request: ClientRequest) -> ClientAnswer:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, ServerUnreachable):
            raise answer
        return answer


def client(*answers: ClientAnswer | ServerUnreachable, url: str = "http://dtm:36789") -> tuple[DtmClient, Transcript]:
    transcript = Transcript(answers=list(answers))
    return DtmClient(url, timeout_s=5.0, send=transcript), transcript


def said(status: int, body: bytes) -> ClientAnswer:
    return ClientAnswer(status=status, body=body)


def test_a_new_gid_is_asked_for() -> None:
    dtm, transcript = client(said(200, NEW_GID))
    assert dtm.new_gid() == "4nWNYmFrDVSTkMBhhyPnNT"
    assert transcript.requests == [ClientRequest(method="GET", url=f"{BASE}/newGid", timeout_s=5.0)]


def test_a_saga_is_submitted_in_one_request() -> None:
    dtm, transcript = client(SUCCESS)
    dtm.submit(SAGA)
    [request] = transcript.requests
    assert (request.method, request.url, request.timeout_s) == ("POST", f"{BASE}/submit", 5.0)
    assert json.loads(request.body)["gid"] == "g-1"


@pytest.mark.parametrize(
    ("options", "timeout_s"),
    [
        (Options(wait_result=True, request_timeout_s=60), 60.0),
        (Options(wait_result=True, request_timeout_s=1), 5.0),
        (Options(request_timeout_s=60), 5.0),
    ],
)
def test_a_waiting_submit_has_the_time_of_its_calls(options: Options, timeout_s: float) -> None:
    dtm, transcript = client(SUCCESS)
    dtm.submit(Saga(gid="g-1", steps=SAGA.steps, options=options))
    assert transcript.requests[0].timeout_s == timeout_s


def test_a_transaction_is_found_though_its_reason_speaks_of_failure() -> None:
    dtm, transcript = client(said(200, FOUND))
    found = dtm.query("g 1/ü")
    assert transcript.requests[0].url == f"{BASE}/query?gid=g%201%2F%C3%BC"
    assert found == FoundTransaction(
        gid="g-1",
        pattern="saga",
        status="failed",
        rollback_reason="no money FAILURE",
        branches=(FoundBranch(branch_id="01", op="action", status="failed", url="http://a/out"),),
    )
    assert found is not None
    assert found.is_final


def test_an_unknown_gid_is_none() -> None:
    dtm, _ = client(said(200, UNKNOWN_GID))
    assert dtm.query("g-1") is None


def test_a_transaction_is_stopped_by_force() -> None:
    dtm, transcript = client(SUCCESS)
    dtm.force_stop("g-1")
    [request] = transcript.requests
    assert (request.url, json.loads(request.body)) == (f"{BASE}/forceStop", {"gid": "g-1"})


WRITES: list[Callable[[DtmClient], object]] = [
    lambda dtm: dtm.submit(SAGA),
    lambda dtm: dtm.force_stop("g-1"),
    lambda dtm: dtm.new_gid(),
]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (said(409, REFUSED), ServerRefused),
        (said(409, b'{"dtm_result":"FAILURE","message":"wait result not return success: FAILURE"}'), ServerRefused),
        (said(200, b'{"dtm_result":"FAILURE"}'), ServerRefused),
        (said(500, b"old servers: FAILURE"), ServerRefused),
        (said(425, b'{"dtm_result":"ONGOING","message":"ONGOING"}'), ServerOngoing),
        (said(500, b'{"message":"no TransGlobal with gid: g-1 found"}'), ServerError),
        (said(404, b"404 page not found"), ServerError),
        (said(201, b'{"dtm_result":"SUCCESS"}'), ServerError),
        (said(301, b""), ServerError),
    ],
)
def test_whatever_is_not_success_is_an_error(
    write: Callable[[DtmClient], object], answer: ClientAnswer, kind: type[ServerError]
) -> None:
    dtm, transcript = client(answer)
    with pytest.raises(ServerError, match=f"answered with (a failure|{answer.status})") as raised:
        write(dtm)
    assert type(raised.value) is kind
    assert (raised.value.status, raised.value.body) == (answer.status, answer.body.decode())
    assert len(transcript.requests) == 1  # nothing is repeated behind the caller's back


READS: list[Callable[[DtmClient], object]] = [lambda dtm: dtm.query("g-1")]


@pytest.mark.parametrize("write", WRITES + READS)
def test_a_lost_answer_reaches_the_caller(write: Callable[[DtmClient], object]) -> None:
    lost = ServerUnreachable("cut off")
    dtm, transcript = client(lost)
    with pytest.raises(ServerUnreachable) as raised:
        write(dtm)
    assert raised.value is lost
    assert len(transcript.requests) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"gid":7}', b'{"gid":""}', b"\xff"])
def test_an_answer_of_some_other_server_is_told_apart(body: bytes) -> None:
    dtm, _ = client(said(200, body))
    with pytest.raises(ServerError, match="no DTM server says"):
        dtm.new_gid()


def test_a_query_that_is_refused_says_so() -> None:
    dtm, _ = client(said(500, b'{"message":"no gid specified"}'))
    with pytest.raises(ServerError, match="no gid specified"):
        dtm.query("")


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://dtm:36789", BASE),
        ("http://dtm:36789/", BASE),
        (BASE, BASE),
        (BASE + "/", BASE),
        ("https://[::1]:1", "https://[::1]:1/api/dtmsvr"),
        ("https://proxy/dtm/api/dtmsvr", "https://proxy/dtm/api/dtmsvr"),
    ],
)
def test_the_address_may_be_the_servers_or_the_base_of_other_clients(url: str, base: str) -> None:
    dtm, transcript = client(SUCCESS, url=url)
    dtm.force_stop("g-1")
    assert transcript.requests[0].url == f"{base}/forceStop"


@pytest.mark.parametrize(
    "url", ["", "dtm:36789", "localhost", "grpc://dtm", "grpc://", "http://", "http://a:b", "http://a/?x"]
)
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ClientError, match="expected one like http://localhost:36789"):
        DtmClient(url)
