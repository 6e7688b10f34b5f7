"""The rules of redirects; that they are Go's is shown against Go itself in `test_http_go.py`."""

import pytest

from flowtx_engine.calls.http_redirect import Hop, next_hop
from flowtx_engine.calls.http_types import HttpFault, HttpRequest, HttpResponse

FIRST = HttpRequest(
    method="POST",
    url="https://bob.example/a",
    headers=(("Content-Type", "application/json"), ("Authorization", "secret"), ("Cookie", "c"), ("X", "y")),
    body=b"body",
)


def redirect(status: int, location: str) -> HttpResponse:
    return HttpResponse(status=status, headers=(("location", location),), body=b"")


def follow(first: HttpRequest, *responses: HttpResponse) -> HttpRequest:
    hop = Hop(request=first)
    for response in responses:
        following = next_hop(first, hop, response)
        assert following is not None
        hop = following
    return hop.request


@pytest.mark.parametrize(
    ("method", "status", "followed_with"),
    [
        ("POST", 301, "GET"),
        ("POST", 302, "GET"),
        ("POST", 303, "GET"),
        ("PUT", 302, "GET"),
        ("HEAD", 303, "HEAD"),
        ("GET", 302, "GET"),
        ("POST", 307, "POST"),
        ("DELETE", 308, "DELETE"),
    ],
)
def test_the_status_decides_about_method_and_body(method: str, status: int, followed_with: str) -> None:
    first = HttpRequest(method=method, url="http://bob/", headers=(("Content-Type", "t"), ("X", "y")), body=b"body")
    request = follow(first, redirect(status, "/b"))
    is_repeated = status in {307, 308}
    assert request.method == followed_with
    assert request.body == (b"body" if is_repeated else b"")
    assert (("Content-Type", "t") in request.headers) is is_repeated
    assert ("X", "y") in request.headers


def test_a_body_that_was_dropped_does_not_come_back() -> None:
    request = follow(FIRST, redirect(302, "/b"), redirect(307, "/c"))
    assert (request.method, request.body) == ("GET", b"")


@pytest.mark.parametrize(
    ("location", "are_kept"),
    [
        ("/b", True),
        ("https://bob.example:8443/b", True),
        ("http://bob.example/b", True),
        ("https://sub.bob.example/b", True),
        ("https://evilbob.example/b", False),
        ("https://eve.example/b", False),
        ("https://example/b", False),
    ],
)
def test_credentials_go_only_to_the_host_they_were_meant_for(location: str, are_kept: bool) -> None:
    names = {name for name, _ in follow(FIRST, redirect(307, location)).headers}
    assert ("Authorization" in names) is are_kept
    assert ("Cookie" in names) is are_kept
    assert "X" in names


def test_credentials_that_were_dropped_do_not_come_back() -> None:
    request = follow(FIRST, redirect(307, "https://eve.example/"), redirect(307, "https://bob.example/"))
    assert "Authorization" not in {name for name, _ in request.headers}


def test_an_ipv6_address_is_below_no_other() -> None:
    first = HttpRequest(method="GET", url="http://3.4/", headers=(("Cookie", "c"),))
    assert "Cookie" not in {name for name, _ in follow(first, redirect(302, "http://[::ffff:1.2.3.4]/")).headers}


@pytest.mark.parametrize(
    ("first_url", "location", "referer"),
    [
        ("http://bob/a?b#c", "/d", "http://bob/a?b"),
        ("http://u:p@bob/a", "/d", "http://bob/a"),
        ("http://bob/a", "https://bob/d", "http://bob/a"),
        ("https://bob/a", "http://bob/d", None),
    ],
)
def test_the_referer_is_where_the_redirect_came_from(first_url: str, location: str, referer: str | None) -> None:
    request = follow(HttpRequest(method="GET", url=first_url), redirect(302, location))
    assert dict(request.headers).get("Referer") == referer


def test_a_referer_that_the_caller_chose_stays() -> None:
    first = HttpRequest(method="GET", url="http://bob/", headers=(("referer", "mine"),))
    assert follow(first, redirect(302, "/b")).headers == (("referer", "mine"),)


def test_a_host_header_stays_only_as_long_as_redirects_are_relative() -> None:
    first = HttpRequest(method="GET", url="http://bob/", headers=(("Host", "virtual"),))
    assert ("Host", "virtual") in follow(first, redirect(302, "/b"), redirect(302, "c?http://x")).headers
    assert ("Host", "virtual") not in follow(first, redirect(302, "http://bob/b"), redirect(302, "/c")).headers


@pytest.mark.parametrize(
    "response",
    [
        HttpResponse(status=302, headers=(), body=b""),
        redirect(302, ""),
        redirect(200, "/b"),
        redirect(300, "/b"),
        redirect(304, "/b"),
    ],
)
def test_a_response_that_leads_nowhere_is_the_answer(response: HttpResponse) -> None:
    assert next_hop(FIRST, Hop(request=FIRST), response) is None


def test_a_redirect_to_what_cannot_be_called_is_a_fault() -> None:
    with pytest.raises(HttpFault, match="expected one that begins http:// or https://"):
        follow(FIRST, redirect(302, "mailto:bob@example"))
