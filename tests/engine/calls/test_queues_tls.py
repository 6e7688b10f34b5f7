"""Brokers over TLS: the certificate is checked, against the authorities that SSL_CERT_FILE names."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trustme

from flowtx_dsl.queues import parse_queue_url
from flowtx_engine.calls.queue_types import QueueFault, QueueMessage
from flowtx_engine.calls.queues import Queues
from tests.brokers.amqp_side import AmqpSide
from tests.brokers.nats_side import NatsSide
from tests.brokers.redis_side import RedisSide
from tests.brokers.side import Side, own_broker


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class RedisWithTls(RedisSide):
    """Redis with a second port for TLS."""

    @classmethod
    def command(cls, port: int, folder: Path) -> list[str]:
        second = free_port()
        (folder / "tls-port").write_text(str(second))
        files = ["--tls-cert-file", str(folder / "cert"), "--tls-key-file", str(folder / "key")]
        options = ["--tls-port", str(second), *files, "--tls-auth-clients", "no"]
        return [*super().command(port, folder), *options]


class NatsWithTls(NatsSide):
    """NATS that insists on TLS; the test itself does not look at its certificate."""

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE

    @classmethod
    def command(cls, port: int, folder: Path) -> list[str]:
        (folder / "tls-port").write_text(str(port))
        (folder / "config").write_text(f'tls {{ cert_file: "{folder}/cert", key_file: "{folder}/key" }}\n')
        return [*super().command(port, folder), "--config", str(folder / "config")]


class AmqpWithTls(AmqpSide):
    """RabbitMQ with a second port for TLS."""

    @classmethod
    def command(cls, port: int, folder: Path) -> list[str]:
        command, second = super().command(port, folder), free_port()
        (folder / "tls-port").write_text(str(second))
        files = f"ssl_options.certfile = {folder}/cert\nssl_options.keyfile = {folder}/key\n"
        (folder / "rabbitmq.conf").write_text(f"listeners.ssl.1 = 127.0.0.1:{second}\n{files}")
        return command


KINDS: dict[str, tuple[type[Side], Callable[[str], str]]] = {
    "amqp": (AmqpWithTls, lambda url: url.replace("amqp://", "amqps://")),
    "redis": (RedisWithTls, lambda url: url.replace("redis://", "rediss://")),
    "nats": (NatsWithTls, lambda url: url.replace("nats://", "nats+tls://")),
    "nats as it writes it": (NatsWithTls, lambda url: url.replace("nats://", "tls://")),
}


def message(url: str) -> QueueMessage:
    headers = (("idempotency-key", "g/0"),)
    return QueueMessage(address=parse_queue_url(url), message_id="g/0", headers=headers, body=b"{}")


@pytest.mark.parametrize("name", list(KINDS))
async def test_a_broker_with_a_known_certificate_is_spoken_to_and_one_without_is_not(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert")
    certificate.private_key_pem.write_to_path(tmp_path / "key")
    authority.cert_pem.write_to_path(tmp_path / "authority")
    kind, with_tls = KINDS[name]
    with own_broker(kind, tmp_path) as broker:
        side = await trio.to_thread.run_sync(broker.start)
        url = await trio.to_thread.run_sync(side.queue)
        secure = with_tls(url).replace(f":{broker.port}/", f":{(tmp_path / 'tls-port').read_text()}/")
        async with Queues() as queues:
            with pytest.raises(QueueFault, match=r"(?i)cannot be reached.*certificate verify failed"):
                await queues.publish(message(secure))
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority"))
            await queues.publish(message(secure))
        assert [each.message_id for each in await trio.to_thread.run_sync(side.received, url)] == ["g/0"]


@pytest.mark.parametrize("url", ["nats+tls", "tls"])
async def test_nats_that_does_not_insist_on_tls_is_told_neither_password_nor_message(url: str, tmp_path: Path) -> None:
    with own_broker(NatsSide, tmp_path) as broker:
        side = await trio.to_thread.run_sync(broker.start)
        plain = await trio.to_thread.run_sync(side.queue)
        for asked in (plain, plain.replace("flowtx:flowtx@", "a-token@")):
            async with Queues() as queues:
                with pytest.raises(QueueFault, match="asks for TLS and NATS there does not, so nothing was sent"):
                    await queues.publish(message(asked.replace("nats://", f"{url}://")))
        assert await trio.to_thread.run_sync(side.received, plain) == []
        # Had anybody been told a wrong token, the server would have complained of it.
        assert "authentication error" not in (tmp_path / "log").read_text()
