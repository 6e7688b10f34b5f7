"""Listening sockets, and what is said when an address cannot be had."""

from __future__ import annotations

import errno
import socket

from flowtx.settings import address_of
from flowtx_dsl.errors import FlowtxError

BACKLOG_MAX = 1024
"""Connections that wait to be accepted; DTM's Go clients open many and keep few."""


class BindError(FlowtxError):
    """The server cannot listen on the address it was given."""

    def __init__(self, bind: str, why: str, *, setting: str = "bind") -> None:
        super().__init__(
            f"cannot listen on {bind}: {why}",
            remedy="Stop whatever listens there, or choose another address or port with "
            f"--{setting.replace('_', '-')}.",
        )


def listen(bind: str, setting: str = "bind") -> socket.socket:
    """A listening socket at the address of a setting; raises ``BindError``."""
    host, port = address_of(bind, setting)
    host = host or "0.0.0.0"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A restarted server must not wait for the connections of the one before to be forgotten.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG_MAX)
    except OSError as error:
        listener.close()
        why = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        raise BindError(bind, why, setting=setting) from error
    listener.setblocking(False)
    return listener
