"""For services that take part in transactions: the DTM client, the barrier, endpoints.

The law of this face: a name loads its own file and no other. A service that guards its rows with the barrier has no use
for the client, and the client for event loops needs an extra that others need not have. What belongs to one framework,
or to Redis, is in the file named after it: ``flowtx.client.flask``, ``flowtx.client.barrier_redis``.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what the table below says, for type checkers and editors
    from flowtx.client.answers import FoundBranch, FoundTransaction
    from flowtx.client.async_client import AsyncDtmClient
    from flowtx.client.async_workflows import AsyncWorkflow, AsyncWorkflows
    from flowtx.client.barrier import Barrier, Ran, Skipped, Why
    from flowtx.client.barrier_upkeep import create_table, purge
    from flowtx.client.branch_calls import BranchResult
    from flowtx.client.branch_ids import BranchIds
    from flowtx.client.errors import (
        BarrierError,
        BranchFault,
        BranchIdError,
        ClientError,
        Duplicated,
        ServerError,
        ServerOngoing,
        ServerRefused,
        ServerUnreachable,
        XaError,
    )
    from flowtx.client.message import Message, MessageStep, topic
    from flowtx.client.options import Options
    from flowtx.client.participants import METHODS, BranchRequest, Participant, Reply
    from flowtx.client.saga import Saga, SagaStep
    from flowtx.client.sync_client import DtmClient
    from flowtx.client.workflows import Workflow, Workflows
    from flowtx.client.xa_branch import XaBranch

_FILES = {
    "answers": ("FoundBranch", "FoundTransaction"),
    "async_client": ("AsyncDtmClient",),
    "async_workflows": ("AsyncWorkflow", "AsyncWorkflows"),
    "barrier": ("Barrier", "Ran", "Skipped", "Why"),
    "barrier_upkeep": ("create_table", "purge"),
    "branch_calls": ("BranchResult",),
    "branch_ids": ("BranchIds",),
    "errors": (
        "BarrierError",
        "BranchFault",
        "BranchIdError",
        "ClientError",
        "Duplicated",
        "ServerError",
        "ServerOngoing",
        "ServerRefused",
        "ServerUnreachable",
        "XaError",
    ),
    "message": ("Message", "MessageStep", "topic"),
    "options": ("Options",),
    "participants": ("METHODS", "BranchRequest", "Participant", "Reply"),
    "saga": ("Saga", "SagaStep"),
    "sync_client": ("DtmClient",),
    "workflows": ("Workflow", "Workflows"),
    "xa_branch": ("XaBranch",),
}
_HOME = {name: file for file, names in _FILES.items() for name in names}

__all__ = [
    "METHODS",
    "AsyncDtmClient",
    "AsyncWorkflow",
    "AsyncWorkflows",
    "Barrier",
    "BarrierError",
    "BranchFault",
    "BranchIdError",
    "BranchIds",
    "BranchRequest",
    "BranchResult",
    "ClientError",
    "DtmClient",
    "Duplicated",
    "FoundBranch",
    "FoundTransaction",
    "Message",
    "MessageStep",
    "Options",
    "Participant",
    "Ran",
    "Reply",
    "Saga",
    "SagaStep",
    "ServerError",
    "ServerOngoing",
    "ServerRefused",
    "ServerUnreachable",
    "Skipped",
    "Why",
    "Workflow",
    "Workflows",
    "XaBranch",
    "XaError",
    "create_table",
    "purge",
    "topic",
]

if not TYPE_CHECKING:  # a checker that saw it would take every misspelt name for one of these

    def __getattr__(name):
        """The name, from its file; the import system keeps what was loaded, so this is asked once a name."""
        file = _HOME.get(name)
        if file is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{file}"), name)
        return value

    def __dir__():
        return sorted({*globals(), *__all__})
