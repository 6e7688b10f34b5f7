"""How a request looks on the wire."""

import pytest

from flowtx_engine.calls.http_request import render_connect, render_headers, render_request
from flowtx_engine.calls.http_types import HttpFault
from flowtx_engine.calls.http_url import parse_url


def render(method: str, url: str, headers: tuple[tuple[str, str], ...] = (), body: bytes = b"") -> list[str]:
    return render_request(method, parse_url(url), render_headers(headers), body).decode().split("\r\n")


def test_a_get_has_no_length_and_a_post_has_one_even_when_empty() -> None:
    assert render("GET", "http://bob/") == [
        "GET / HTTP/1.1", "Host: bob", "User-Agent: flowtx", "Accept-Encoding: gzip", "", "",
    ]  # fmt: skip
    assert "Content-Length: 0" in render("POST", "http://bob/")
    assert "Content-Length: 0" not in render("DELETE", "http://bob/")
    assert "Content-Length: 1" in render("DELETE", "http://bob/", (), b"x")


@pytest.mark.parametrize(
    ("content_type", "accept"),
    [
        ("application/json", ["Accept: application/json"]),
        ("application/json; charset=utf-8", ["Accept: application/json"]),
        ("application/problem+json", ["Accept: application/json"]),
        ("text/plain", []),
        ("text/plain; format=json", []),
    ],
)
def test_json_is_accepted_where_json_is_sent(content_type: str, accept: list[str]) -> None:
    lines = render("POST", "http://bob/", (("content-type", content_type),))
    assert [line for line in lines if line.startswith("Accept:")] == accept


def test_what_the_caller_gives_replaces_the_defaults() -> None:
    given = (
        ("user-agent", "mine"),
        ("ACCEPT", "*/*"),
        ("accept-encoding", "identity"),
        ("content-type", "application/json"),
        ("host", "other"),
    )
    assert render("GET", "http://bob/", given) == [
        "GET / HTTP/1.1",
        "Host: other",
        "User-Agent: mine",
        "Accept: */*",
        "Accept-Encoding: identity",
        "Content-Type: application/json",
        "",
        "",
    ]


def test_a_user_name_in_the_url_is_told_unless_the_caller_gives_an_authorization() -> None:
    lines = render("GET", "http://u:p@bob/")
    assert [line for line in lines if line.startswith("Authorization")] == ["Authorization: Basic dTpw"]
    lines = render("GET", "http://u:p@bob/", (("authorization", "mine"),))
    assert [line for line in lines if line.startswith("Authorization")] == ["Authorization: mine"]


def test_headers_keep_their_order_and_may_repeat_and_are_canonical_as_in_go() -> None:
    lines = render("GET", "http://bob/", (("x-b3-TRACEid", " a "), ("test_header", "ü"), ("X-B3-Traceid", "")))
    assert lines[2:5] == ["X-B3-Traceid: a", "Test_header: ü", "X-B3-Traceid: "]


def test_the_framing_is_not_the_callers() -> None:
    given = (("Content-Length", "999"), ("Transfer-Encoding", "chunked"), ("Trailer", "x"))
    lines = render("POST", "http://bob/", given, b"ab")
    assert "Content-Length: 2" in lines
    assert not [line for line in lines if "999" in line or "Transfer" in line or "Trailer" in line]


def test_a_proxy_is_told_the_whole_url_and_who_asks() -> None:
    proxy = parse_url("http://u:p@squid:3128").origin
    url = parse_url("http://bob:8081/a?b")
    request = render_request("GET", url, render_headers(()), b"", forwarder=proxy).decode()
    assert request.startswith(
        "GET http://bob:8081/a?b HTTP/1.1\r\nHost: bob:8081\r\nProxy-Authorization: Basic dTpw\r\n"
    )
    tunnel = render_connect(parse_url("https://[::1]/a").origin, proxy).decode()
    assert tunnel.startswith("CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n")
    assert "\r\nProxy-Authorization: Basic dTpw\r\n" in tunnel
    assert tunnel.endswith("\r\n\r\n")


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ((("", "x"),), "header name '' is not one"),
        ((("a b", "x"),), "header name 'a b' is not one"),
        ((("ä", "x"),), "header name 'ä' is not one"),
        ((("X", "a\0b"),), "header X has a line break or control character"),
        ((("X", "a\rb"),), "header X has a line break or control character"),
        ((("X", "\ud800"),), "header X has a lone surrogate"),
        ((("Host", "bob/"),), "Host header 'bob/' is not a host name"),
        ((("Host", "böb"),), "Host header 'böb' is not a host name"),
    ],
)
def test_a_header_that_http_cannot_carry_is_a_fault(headers: tuple[tuple[str, str], ...], told: str) -> None:
    with pytest.raises(HttpFault, match=told):
        render_headers(headers)


@pytest.mark.parametrize("method", ["", "GE T", "PÖST", "GET\n", "CONNECT"])
def test_a_method_that_is_none_is_a_fault(method: str) -> None:
    with pytest.raises(HttpFault, match="is not a method of calls; expected a word such as POST"):
        render(method, "http://bob/")
