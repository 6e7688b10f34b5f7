"""URLs of queues: what is taken apart comes back, what is wrong is said, and what lets one in is never shown."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flowtx
from flowtx_dsl.errors import WorkflowError
from flowtx_dsl.queues import BROKERS, SCHEMES, check_library, is_queue, parse_queue_url, shown_url, without_secrets
from flowtx_dsl.remote import participant_target, queue
from flowtx_dsl.targets import QueueTarget
from tests.brokers.missing import hide_libraries

PRINTABLE = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
PATHS = {"amqp": "/%2F/exchange/orders.new", "nats": "/orders.new", "redis": "/0/orders"}
SECRET = "geheim-7391"


def test_every_broker_has_a_scheme_an_example_that_can_be_parsed_and_a_test() -> None:
    assert {broker.name for broker, _ in SCHEMES.values()} == set(BROKERS) == set(PATHS)
    for broker in BROKERS.values():
        assert parse_queue_url(broker.example).broker == broker.name


@given(
    scheme=st.sampled_from(sorted(SCHEMES)), port=st.none() | st.integers(1, 65535), user=PRINTABLE, password=PRINTABLE
)
def test_host_port_user_and_password_come_back(scheme: str, port: int | None, user: str, password: str) -> None:
    broker, is_tls = SCHEMES[scheme]
    written = f":{port}" if port else ""
    url = f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@broker.example{written}{PATHS[broker.name]}"
    address = parse_queue_url(url)
    assert (address.broker, address.is_tls) == (broker.name, is_tls)
    assert (address.host, address.user, address.password) == ("broker.example", user, password)
    assert address.port == (port or (broker.tls_port if is_tls else broker.port))
    assert address.shown == f"{scheme}://***@broker.example{written}{PATHS[broker.name]}"
    assert address.shown == without_secrets(url) == shown_url(url)


@given(key=PRINTABLE, database=st.integers(0, 99_999))
def test_any_printable_key_of_a_stream_comes_back(key: str, database: int) -> None:
    address = parse_queue_url(f"redis://h/{database}/{quote(key, safe='')}")
    assert (address.realm, address.place) == (str(database), (key,))


@given(st.text())
def test_whatever_a_url_is_it_is_parsed_or_refused_with_a_reason(url: str) -> None:
    for text in (url, f"redis://{url}", f"redis://h/{url}"):
        try:
            parse_queue_url(text)
        except WorkflowError as error:
            assert error.message.startswith("no message can be sent to ")  # noqa: PT017 - both ways are right
            assert "://" in error.remedy  # noqa: PT017 - as above


@given(
    user=st.text(st.characters(exclude_characters="@"), max_size=10),
    mark=st.sampled_from(["", "/", "?", "#", "[", " ", "%", "\n", "@"]),
    path=st.sampled_from(["", "/", "/0/orders", "/x/y/z", "/0/orders?a=b", "/0/%00"]),
    scheme=st.sampled_from([*sorted(SCHEMES), "kafka"]),
)
def test_no_password_stands_in_any_refusal_or_repr(user: str, mark: str, path: str, scheme: str) -> None:
    url = f"{scheme}://{user}:{mark}{SECRET}@host{path}"
    try:
        target = queue(url)
    except WorkflowError as error:
        assert SECRET not in str(error)  # noqa: PT017 - both ways are right
        return
    assert SECRET not in f"{target!r} {target.name} {target.call((1,))!r} {parse_queue_url(url)!r}"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("kafka://h/topic", "its scheme is none of "),
        ("redis:///0/orders", "it is no URL of scheme, host, port and path"),
        ("amqp://h", "its path has 0 segments, expected three"),
        ("amqp://h/%2F/orders", "its path has 2 segments, expected three"),
        ("amqp://h//exchange/key", "write %2F for the one that is called /"),
        ("amqp://h/%2F//", "its exchange and its routing key are both empty"),
        (f"amqp://h/%2F/{'x' * 256}/key", "a name in it has 256 bytes, expected at most 255"),
        (f"amqp://h/%2F/x/{'%C3%BC' * 128}", "a name in it has 256 bytes"),
        ("nats://h", "its path has 0 segments, expected one"),
        ("nats://h/a/b", "its path has 2 segments, expected one"),
        ("nats://h/", "its subject is ''"),
        ("nats://h/a..b", "expected tokens without blanks, with a dot between each two"),
        ("nats://h/a%20b", "expected tokens without blanks"),
        ("nats://h/a.*", "expected one subject and no wildcard"),
        ("nats://h/a.%3E", "expected one subject and no wildcard"),
        ("nats://h/$JS.API.STREAM.PURGE.x", "expected one that is not the broker's own"),
        ("redis://h:0/0/orders", "its port is 0, expected a number from 1 to 65535"),
        ("redis://h:99999/0/orders", "its port is 99999"),
        ("redis://h/0/orders?maxlen=5", "without a query or fragment"),
        ("redis://h", "its path has 0 segments, expected two"),
        ("redis://h/orders", "its path has 1 segments, expected two"),
        ("redis://h/0/orders/new", "its path has 3 segments, expected two"),
        ("redis://h/zero/orders", "its database is 'zero', expected a number"),
        ("redis://h/0/", "the stream's key is empty"),
        ("redis://h/0/a%0Ab", "holds a control character"),
        ("redis://h/0/a\nb", "holds a control character"),
        ("redis://h/0/50%", "not followed by two hexadecimal digits"),
        ("redis://h/0/%ff", "is no UTF-8"),
        (f"redis://h/0/{'x' * 2048}", "expected at most 2048"),
    ],
)
def test_what_is_wrong_is_said_with_an_example(url: str, why: str) -> None:
    with pytest.raises(WorkflowError, match=re.escape(why)) as caught:
        queue(url)
    scheme = url.partition("://")[0]
    for broker in [SCHEMES[scheme][0]] if scheme in SCHEMES else BROKERS.values():
        assert broker.example in caught.value.remedy


def test_texts_keep_all_but_the_credentials_of_queues() -> None:
    text = '{"a":"redis://u:p@h/0/x","b":"http://u:p@h/","c":"rediss://h/0/a@b","d":"xredis://u:p@h"}'
    hidden = '{"a":"redis://***@h/0/x","b":"http://u:p@h/","c":"rediss://h/0/a@b","d":"xredis://u:p@h"}'
    assert without_secrets(text) == hidden
    assert shown_url("http://u:p@h/?to=redis://u:p@h") == "http://u:p@h/?to=redis://u:p@h"  # no queue's URL


@pytest.mark.parametrize("protocol", ["", "http", "grpc", "json-rpc"])
def test_a_branch_that_names_a_queue_goes_there_whatever_the_protocol(protocol: str) -> None:
    target = participant_target(protocol, "redis://h/0/x?method", trans_type="msg", branch_id="01", op="action")
    assert isinstance(target, QueueTarget)
    assert (target.branch_id, target.op, target.trans_type) == ("01", "action", "msg")
    assert not is_queue("redis:/h") and not is_queue("redis") and is_queue("REDIS://h")  # noqa: PT018 - one table


def test_a_step_names_its_queue_by_its_face() -> None:
    target = flowtx.queue("redis://u:p@h/0/x", headers={"tenant": "7"})
    assert target == QueueTarget(url="redis://u:p@h/0/x", headers=(("tenant", "7"),), result_type=None)
    assert target.call((b"\xff",)).body == b"\xff"
    assert target.call(({"a": 1},)).body == b'{"a":1}'
    assert target.call(({"a": 1},)).name == "redis://***@h/0/x"


def test_a_library_that_is_missing_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    hide_libraries(monkeypatch)
    for broker in BROKERS.values():
        with pytest.raises(WorkflowError, match=f"{broker.library} is not installed") as caught:
            check_library(broker.name)
        assert caught.value.remedy == f"Install it where flowtx runs: pip install 'flowtx[{broker.extra}]'"
