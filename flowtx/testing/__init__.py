"""Public test kit: a server for tests, a simulated world, faults, Hypothesis strategies, conformance kits."""

from flowtx.testing.control import ControlError, Round
from flowtx.testing.server_process import AsyncServer, Server, ServerFailed, server

__all__ = ["AsyncServer", "ControlError", "Round", "Server", "ServerFailed", "server"]
