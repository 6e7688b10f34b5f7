"""URLs of message queues: which there are, how each is taken apart, and how they are shown.

The law of this file: a broker is one entry of ``BROKERS``, a scheme one of ``SCHEMES``. What is shown of a URL never
holds what lets one in; a URL that no message can be sent to is a ``WorkflowError`` that says why.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.util import find_spec
from urllib.parse import unquote

from flowtx_dsl.errors import WorkflowError

URL_CHARS_MAX = 2048
"""The longest URL of a queue, in characters."""
SHORT_STRING_MAX = 255
"""The longest name in AMQP, in bytes (AMQP 0-9-1, section 4.2.5.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A kind of broker: ``realm_and_place`` reads a URL's path, segment by segment, or says what is wrong with it.

    ``library`` is the Python package that speaks to it, ``extra`` the extra of flowtx that brings it.
    """

    name: str
    port: int
    tls_port: int
    library: str
    extra: str
    example: str
    realm_and_place: Callable[[tuple[str, ...]], tuple[str, tuple[str, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueAddress:
    """A queue's URL, taken apart.

    ``realm`` is what a connection is for (Redis's database), ``place`` where in it a message goes (a stream's key).
    ``user`` and ``password`` are None where the URL names none. ``shown`` is the URL without them.
    """

    broker: str
    host: str
    port: int
    is_tls: bool
    user: str | None = field(repr=False)
    password: str | None = field(repr=False)
    realm: str
    place: tuple[str, ...]
    shown: str

    @property
    def connection(self) -> tuple[object, ...]:
        """What addresses must have in common to share a connection."""
        return (self.broker, self.host, self.port, self.is_tls, self.user, self.password, self.realm)

    @property
    def server(self) -> str:
        """Host and port, as a person reads them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class _Wrong(Exception):
    """What is wrong with a path."""


def _amqp_place(segments: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    if len(segments) != 3:
        raise _Wrong(f"its path has {len(segments)} segments, expected three: virtual host, exchange and routing key")
    vhost, exchange, key = segments
    if not vhost:
        raise _Wrong("its virtual host is empty; write %2F for the one that is called /")
    if not exchange and not key:
        raise _Wrong("its exchange and its routing key are both empty; with the default exchange, the key is the queue")
    for name in segments:
        if len(name.encode()) > SHORT_STRING_MAX:
            raise _Wrong(f"a name in it has {len(name.encode())} bytes, expected at most {SHORT_STRING_MAX}")
    return vhost, (exchange, key)


def _nats_place(segments: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    if len(segments) != 1:
        raise _Wrong(f"its path has {len(segments)} segments, expected one: a subject, whose tokens dots divide")
    (subject,) = segments
    tokens = subject.split(".")
    if not all(tokens) or any(each.isspace() for each in subject):
        raise _Wrong(f"its subject is {subject!r}, expected tokens without blanks, with a dot between each two")
    if "*" in tokens or ">" in tokens:
        raise _Wrong(f"its subject is {subject!r}, expected one subject and no wildcard")
    if subject.startswith("$"):  # by which a broker itself is commanded
        raise _Wrong(f"its subject is {subject!r}, expected one that is not the broker's own")
    return "", (subject,)


def _redis_place(segments: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    if len(segments) != 2:
        raise _Wrong(f"its path has {len(segments)} segments, expected two: a database's number and a stream's key")
    database, key = segments
    if re.fullmatch(r"[0-9]{1,5}", database) is None:
        raise _Wrong(f"its database is {database!r}, expected a number")
    if not key:
        raise _Wrong("the stream's key is empty")
    return str(int(database)), (key,)


AMQP = Broker(
    name="amqp",
    port=5672,
    tls_port=5671,
    library="aiormq",
    extra="amqp",
    example="amqp://host:5672/%2F/exchange/orders.new",
    realm_and_place=_amqp_place,
)
NATS = Broker(
    name="nats",
    port=4222,
    tls_port=4222,
    library="nats",
    extra="nats",
    example="nats://host:4222/orders.new",
    realm_and_place=_nats_place,
)
REDIS = Broker(
    name="redis",
    port=6379,
    tls_port=6379,
    library="redis",
    extra="redis",
    example="redis://host:6379/0/orders",
    realm_and_place=_redis_place,
)

BROKERS: Mapping[str, Broker] = {broker.name: broker for broker in (AMQP, NATS, REDIS)}
"""The kinds of brokers by name."""
SCHEMES: Mapping[str, tuple[Broker, bool]] = {
    "amqp": (AMQP, False),
    "amqps": (AMQP, True),
    "nats": (NATS, False),
    "nats+tls": (NATS, True),
    "tls": (NATS, True),  # as NATS itself writes it
    "redis": (REDIS, False),
    "rediss": (REDIS, True),
}
"""The schemes, each with its kind of broker and whether it means TLS."""

_ANY_SCHEME = "|".join(re.escape(scheme) for scheme in sorted(SCHEMES, key=len, reverse=True))
_URL = re.compile(
    r"(?P<scheme>[A-Za-z+]+)://(?:(?P<user>[^@:/?#\[\]\s\"'<>]*)(?::(?P<password>[^@/?#\[\]\s\"'<>]*))?@)?"
    r"(?P<host>[A-Za-z0-9._\-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?(?P<path>/[^?#]*)?"
)
_UP_TO_THE_LAST_AT = re.compile(r"://.*@", re.DOTALL)
_IN_TEXT = re.compile(rf"((?<![A-Za-z0-9+.\-])(?:{_ANY_SCHEME})://)[^\s/\"'<>]*@", re.IGNORECASE)
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def is_queue(url: str) -> bool:
    """True for a URL whose scheme names a queue."""
    scheme, mark, _ = url.partition("://")
    return bool(mark) and scheme.lower() in SCHEMES


@lru_cache(maxsize=4096)
def parse_queue_url(url: str) -> QueueAddress:
    """Take a queue's URL apart; raises ``WorkflowError`` for one that no message can be sent to."""
    broker, is_tls = SCHEMES.get(url.partition("://")[0].lower(), (None, False))
    if broker is None:
        raise _cannot(url, f"its scheme is none of {', '.join(SCHEMES)}", tuple(BROKERS.values()))
    try:
        return _parsed(url, broker, is_tls)
    except _Wrong as wrong:
        raise _cannot(url, str(wrong), (broker,)) from None


def without_secrets(text: str) -> str:
    """A text with the user and password of every queue's URL in it hidden."""
    return _IN_TEXT.sub(r"\1***@", text) if "://" in text else text


def shown_url(url: str) -> str:
    """A participant's URL as it may be shown: of a queue's, not what lets one in."""
    if not is_queue(url):
        return url
    try:
        return parse_queue_url(url).shown
    except WorkflowError:
        return _hidden(url)


@cache
def check_library(broker: str) -> None:
    """Raise ``WorkflowError`` when nothing is installed here that speaks to a kind of broker."""
    wanted = BROKERS[broker]
    if find_spec(wanted.library) is None:
        raise WorkflowError(
            f"the Python package {wanted.library} is not installed, without which no message reaches {wanted.name}",
            remedy=f"Install it where flowtx runs: pip install 'flowtx[{wanted.extra}]'",
        )


def _cannot(url: str, why: str, brokers: tuple[Broker, ...]) -> WorkflowError:
    examples = " or ".join(broker.example for broker in brokers)
    return WorkflowError(
        f"no message can be sent to {_hidden(url)!r}: {why}",
        remedy=f"Write it like {examples}, and percent-encode what is special.",
    )


def _hidden(url: str) -> str:
    """What may be shown of a URL that nobody can tell the parts of."""
    return _UP_TO_THE_LAST_AT.sub("://***@", url)[:URL_CHARS_MAX]


def _parsed(url: str, broker: Broker, is_tls: bool) -> QueueAddress:
    if len(url) > URL_CHARS_MAX:
        raise _Wrong(f"it has {len(url)} characters, expected at most {URL_CHARS_MAX}")
    if not url.isprintable():
        raise _Wrong("it holds a control character")
    match = _URL.fullmatch(url)
    if match is None:
        raise _Wrong("it is no URL of scheme, host, port and path, without a query or fragment")
    port = int(match["port"]) if match["port"] else broker.tls_port if is_tls else broker.port
    if not 0 < port < 65536:
        raise _Wrong(f"its port is {port}, expected a number from 1 to 65535")
    realm, place = broker.realm_and_place(_segments(match["path"] or ""))
    # Names go from here into a protocol's headers: nothing that could end a line there may pass.
    user, password = (None if match[part] is None else _decoded(match[part]) for part in ("user", "password"))
    hidden, written_port = "" if user is None else "***@", f":{match['port']}" if match["port"] else ""
    return QueueAddress(
        broker=broker.name,
        host=match["host"].strip("[]"),
        port=port,
        is_tls=is_tls,
        user=user,
        password=password,
        realm=realm,
        place=place,
        shown=f"{match['scheme']}://{hidden}{match['host']}{written_port}{match['path'] or ''}",
    )


def _segments(path: str) -> tuple[str, ...]:
    return tuple(_decoded(segment) for segment in path.split("/")[1:])


def _decoded(part: str) -> str:
    if _BAD_PERCENT.search(part) is not None:
        raise _Wrong("a '%' in it is not followed by two hexadecimal digits")
    try:
        decoded = unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise _Wrong("what is percent-encoded in it is no UTF-8") from None
    if not decoded.isprintable():
        raise _Wrong("what is percent-encoded in it holds a control character")
    return decoded
