"""Public test kit: a server for tests, a simulated world, faults, Hypothesis strategies, conformance kits."""

from flowtx.testing.control import ControlError, Round
from flowtx.testing.everywhere import Ending, crash_everywhere
from flowtx.testing.faults import NO_FAULTS, Fault, Schedule
from flowtx.testing.participants import Participants
from flowtx.testing.prove import NotProved, Proof, play, schedules_everywhere, single_faults_everywhere
from flowtx.testing.server_process import AsyncServer, Server, ServerFailed, server
from flowtx.testing.world import HangError, World

__all__ = [
    "NO_FAULTS",
    "AsyncServer",
    "ControlError",
    "Ending",
    "Fault",
    "HangError",
    "NotProved",
    "Participants",
    "Proof",
    "Round",
    "Schedule",
    "Server",
    "ServerFailed",
    "World",
    "crash_everywhere",
    "play",
    "schedules_everywhere",
    "server",
    "single_faults_everywhere",
]
