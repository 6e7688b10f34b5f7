"""Which calls go through a proxy; the table is Go's (`golang.org/x/net/http/httpproxy`)."""

import pytest

from flowtx_engine.calls.http_proxy import ProxyRules
from flowtx_engine.calls.http_types import HttpFault
from flowtx_engine.calls.http_url import parse_url


def proxy_of(url: str, **environ: str) -> str | None:
    proxy = ProxyRules.from_environ(environ).proxy_for(parse_url(url).origin)
    return None if proxy is None else f"{proxy.scheme}://{proxy}"


def test_without_variables_every_call_is_direct() -> None:
    assert proxy_of("http://bob/") is None
    assert proxy_of("http://bob/", HTTP_PROXY="", NO_PROXY="x") is None


def test_each_scheme_has_its_own_proxy() -> None:
    environ = {"HTTP_PROXY": "http://one:1", "HTTPS_PROXY": "https://two"}
    assert proxy_of("http://bob/", **environ) == "http://one:1"
    assert proxy_of("https://bob/", **environ) == "https://two:443"
    assert proxy_of("https://bob/", HTTP_PROXY="http://one:1") is None


def test_lower_case_serves_where_upper_case_is_not_set() -> None:
    assert proxy_of("http://bob/", http_proxy="http://low") == "http://low:80"
    assert proxy_of("http://bob/", HTTP_PROXY="http://up", http_proxy="http://low") == "http://up:80"
    assert proxy_of("http://bob/", HTTP_PROXY="", http_proxy="http://low") == "http://low:80"
    assert proxy_of("http://bob/", HTTP_PROXY="http://up", no_proxy="bob") is None


def test_a_proxy_without_scheme_is_an_http_proxy() -> None:
    assert proxy_of("https://bob/", HTTPS_PROXY="squid:3128") == "http://squid:3128"
    assert proxy_of("https://bob/", HTTPS_PROXY="u:p@squid") == "http://squid:80"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8081", "127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]"]
)
def test_this_machine_is_never_called_through_a_proxy(host: str) -> None:
    assert proxy_of(f"http://{host}/", HTTP_PROXY="http://squid") is None


@pytest.mark.parametrize(
    ("no_proxy", "host", "is_direct"),
    [
        ("*", "bob.example", True),
        ("foo, * ,bar", "1.2.3.4", True),
        ("bob.example", "bob.example", True),
        ("BOB.example", "bob.EXAMPLE", True),
        ("bob.example", "sub.bob.example", True),
        ("bob.example", "evilbob.example", False),
        (".bob.example", "bob.example", False),
        (".bob.example", "sub.bob.example", True),
        ("*.bob.example", "bob.example", False),
        ("*.bob.example", "sub.bob.example", True),
        ("bob.example:8081", "bob.example:8081", True),
        ("bob.example:8081", "bob.example", False),
        ("bob.example:80", "bob.example", True),
        ("1.2.3.4", "1.2.3.4", True),
        ("1.2.3.4", "1.2.3.40", False),
        ("1.2.3.4:80", "1.2.3.4", True),
        ("1.2.3.4:81", "1.2.3.4", False),
        ("1.2.0.0/16", "1.2.3.4", True),
        ("1.2.0.0/16", "1.3.0.0", False),
        ("1.2.3.4", "[::ffff:1.2.3.4]", True),
        ("2001:db8::/32", "[2001:db8::1]", True),
        ("2001:db8::1", "[2001:DB8:0::1]:8081", True),
        ("[2001:db8::1]:81", "[2001:db8::1]", False),
        ("3.4", "1.2.3.4", False),
        ("", "bob.example", False),
        (",,", "bob.example", False),
    ],
)
def test_no_proxy_names_hosts_that_are_called_directly(no_proxy: str, host: str, is_direct: bool) -> None:
    found = proxy_of(f"http://{host}/", HTTP_PROXY="http://squid", NO_PROXY=no_proxy)
    assert found == (None if is_direct else "http://squid:80")


def test_a_proxy_that_cannot_be_used_troubles_only_the_calls_that_would_use_it() -> None:
    environ = {"HTTP_PROXY": "socks5://u:secret@squid", "NO_PROXY": "bob"}
    assert proxy_of("http://bob/", **environ) is None
    with pytest.raises(HttpFault, match=r"HTTP_PROXY is 'socks5://u:\*\*\*@squid'; expected http://host:port"):
        proxy_of("http://eve/", **environ)


def test_under_cgi_the_http_proxy_is_not_trusted() -> None:
    environ = {"HTTP_PROXY": "http://evil", "HTTPS_PROXY": "http://squid", "REQUEST_METHOD": "GET"}
    assert proxy_of("https://bob/", **environ) == "http://squid:80"
    with pytest.raises(HttpFault, match="httpoxy"):
        proxy_of("http://bob/", **environ)
