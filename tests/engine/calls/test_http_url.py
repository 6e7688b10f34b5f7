"""What URLs of participants may look like, and what becomes of them."""

import pytest

from flowtx_engine.calls.http_types import HttpFault
from flowtx_engine.calls.http_url import parse_url, resolve_reference, shown


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://bob", "/"),
        ("http://bob?a=b", "/?a=b"),
        ("http://bob/?", "/?"),
        ("http://bob/pay?a=b#part", "/pay?a=b"),
        ("http://bob/a b?c d", "/a%20b?c%20d"),
        ("http://bob/a%20b%2Fc?d=%26+e", "/a%20b%2Fc?d=%26+e"),
        ("http://bob/100%", "/100%25"),
        ("http://bob/%zz?%e", "/%25zz?%25e"),
        ("http://bob/ü?ö=ä", "/%C3%BC?%C3%B6=%C3%A4"),
        ('http://bob/"<>\\^`{|}', "/%22%3C%3E%5C%5E%60%7B%7C%7D"),
        ("http://bob/-._~!$&'()*+,;=:@[]/a?/?-._~!$&'()*+,;=:@[]", "/-._~!$&'()*+,;=:@[]/a?/?-._~!$&'()*+,;=:@[]"),
        ("http://bob/a/../b/./c", "/a/../b/./c"),
    ],
)
def test_unsafe_characters_are_encoded_once_and_the_rest_stays(url: str, target: str) -> None:
    assert parse_url(url).target == target


@pytest.mark.parametrize(
    ("url", "host", "port", "authority"),
    [
        ("http://bob", "bob", 80, "bob"),
        ("HTTPS://Bob.Example", "bob.example", 443, "Bob.Example"),
        ("http://bob:8081", "bob", 8081, "bob:8081"),
        ("http://bob:80", "bob", 80, "bob:80"),
        ("http://bob:", "bob", 80, "bob"),
        ("http://[::1]:8081", "::1", 8081, "[::1]:8081"),
        ("https://[fe80::1%25eth0]", "fe80::1%eth0", 443, "[fe80::1]"),
        ("http://eve:a:b@c@bob", "bob", 80, "bob"),
        ("http://bücher.example", "xn--bcher-kva.example", 80, "xn--bcher-kva.example"),
    ],
)
def test_host_and_port_are_found(url: str, host: str, port: int, authority: str) -> None:
    origin = parse_url(url).origin
    assert (origin.host, origin.port, origin.authority) == (host, port, authority)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "expected one that begins http:// or https://"),
        ("bob:8081/pay", "expected one that begins http:// or https://"),
        ("ftp://bob/", "expected one that begins http:// or https://"),
        ("http:/bob/", "expected one that begins http:// or https://"),
        (" http://bob/", "expected one that begins http:// or https://"),
        ("http:///pay", "has no host; expected a domain name"),
        ("http://:8081/", "has no host"),
        ("http://bob:x/", "has the port 'x'; expected a number from 1 to 65535"),
        ("http://bob:0/", "has the port '0'"),
        ("http://bob:65536/", "has the port '65536'"),
        ("http://bob:٣/", "has the port '٣'"),
        ("http://b ob/", "has the host 'b ob'"),
        ("http://b<ob/", "has the host 'b<ob'"),
        ("http://[::1/", r"has the host '\['"),
        ("http://[bob]/", r"has the host \[bob\], which is no IPv6 address"),
        ("http://[::1%25]/", "has the IPv6 zone ''"),
        ("http://\u2028.example/", "host that is no domain name"),
        ("http://bob/\ud800", r"lone surrogate '\\ud800'"),
        ("http://bob/a\tb", "has a control character in it"),
        ("http://bob\r\n/", "has a control character in it"),
        ("http://bob/\x7f", "has a control character in it"),
    ],
)
def test_a_url_that_cannot_be_called_is_a_fault_that_says_why(url: str, told: str) -> None:
    with pytest.raises(HttpFault, match=told) as caught:
        parse_url(url)
    assert str(caught.value).isprintable()


def test_a_user_name_is_decoded_into_basic_authorization() -> None:
    assert parse_url("http://bob/").origin.authorization is None
    assert parse_url("http://b%40b:p%3Aw@bob/").origin.authorization == "Basic YkBiOnA6dw=="
    assert parse_url("http://bob@bob/").origin.authorization == "Basic Ym9iOg=="


def test_origins_that_can_share_connections_have_the_same_endpoint() -> None:
    same = {parse_url(url).origin.endpoint for url in ("http://bob/", "http://BOB:80/x", "HTTP://u:p@bob:/?y")}
    others = {parse_url(url).origin.endpoint for url in ("https://bob/", "http://bob:81/", "http://bo/")}
    assert len(same) == 1
    assert len(same | others) == 4


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("http://eve/x", "http://eve/x"),
        ("//eve/x", "http://eve/x"),
        ("/x?y", "http://u:p@bob/x?y"),
        ("x", "http://u:p@bob/a/x"),
        ("../x", "http://u:p@bob/x"),
        ("?y", "http://u:p@bob/a/b?y"),
        ("/Stra\xc3\x9fe 1", "http://u:p@bob/Stra%C3%9Fe 1"),
    ],
)
def test_a_location_is_resolved_against_where_it_came_from(location: str, url: str) -> None:
    assert resolve_reference("http://u:p@bob/a/b?c", location) == url


def test_a_location_with_control_characters_is_a_fault() -> None:
    with pytest.raises(HttpFault, match=r"redirects to 'a\\tb', which has a control character in it"):
        resolve_reference("http://bob/", "a\tb")


@pytest.mark.parametrize(
    ("reference", "path"),
    [
        ("g", "/b/c/g"),
        ("./g", "/b/c/g"),
        ("g/", "/b/c/g/"),
        ("/g", "/g"),
        ("?y", "/b/c/d;p?y"),
        ("g?y", "/b/c/g?y"),
        (";x", "/b/c/;x"),
        ("", "/b/c/d;p?q"),
        (".", "/b/c/"),
        ("./", "/b/c/"),
        ("..", "/b/"),
        ("../g", "/b/g"),
        ("../..", "/"),
        ("../../g", "/g"),
        ("../../../g", "/g"),
        ("/./g", "/g"),
        ("/../g", "/g"),
        ("g.", "/b/c/g."),
        ("..g", "/b/c/..g"),
        ("./g/.", "/b/c/g/"),
        ("g/../h", "/b/c/h"),
        ("g;x=1/../y", "/b/c/y"),
        ("g?y/../x", "/b/c/g?y/../x"),
    ],
)
def test_the_examples_of_rfc_3986_resolve_as_it_says(reference: str, path: str) -> None:
    assert resolve_reference("http://a/b/c/d;p?q", reference) == f"http://a{path}"


def test_messages_show_a_url_without_its_password_and_not_without_end() -> None:
    assert shown("http://eve:secret@bob/pay?a") == "http://eve:***@bob/pay?a"
    assert shown("http://bob/pay?a:b@c") == "http://bob/pay?a:b@c"
    assert shown("http://bob/\r\n") == r"'http://bob/\r\n'"
    assert len(shown("http://bob/" + "x" * 10_000)) < 400
