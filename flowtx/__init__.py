"""flowtx: distributed transactions as Python coroutines, journaled to SQL and replayed after a crash."""

from flowtx.version import __version__
from flowtx_dsl.current import CurrentStep, current_step
from flowtx_dsl.effects import NOT_DONE, Check, Effect, NotDone, check, idempotent, once
from flowtx_dsl.errors import (
    UNKNOWN,
    Abort,
    BrokenResourceError,
    Cancelled,
    ClosedResourceError,
    EndOfChannel,
    EngineClosed,
    FlowtxError,
    ForeignAwaitError,
    GidTaken,
    NondeterminismError,
    NoSuchTransaction,
    NoSuchWorkflow,
    Ongoing,
    Overloaded,
    PayloadError,
    QueryError,
    Refused,
    RemoteError,
    RunClosed,
    StepFault,
    StepTimeout,
    TooSlowError,
    TransactionFailed,
    Unanswered,
    Unknown,
    WorkflowError,
    WouldBlock,
)
from flowtx_dsl.limits import Limit
from flowtx_dsl.outside import Update
from flowtx_dsl.policies import Retry
from flowtx_dsl.remote import grpc, http, json_rpc, queue
from flowtx_dsl.structured import CancelScope, Nursery, ReceiveChannel, SendChannel
from flowtx_dsl.targets import GrpcTarget, HttpTarget, JsonRpcTarget, QueueTarget
from flowtx_dsl.tx import Tx
from flowtx_dsl.workflow import Workflow, workflow
from flowtx_engine.journal.codec import PayloadCodec, PayloadContext
from flowtx_engine.journal.errors import (
    ConflictError,
    JournalError,
    JournalUnavailable,
    SchemaError,
    UnreadablePayload,
)
from flowtx_engine.journal.records import Filter, Transaction
from flowtx_engine.journal.schedules import CronSchedule
from flowtx_engine.kernel.events import Event
from flowtx_engine.kernel.view import NurseryView, RunView, TaskView, Waiting
from flowtx_engine.runtime.deciding import NotInDoubt
from flowtx_engine.runtime.engine import Engine
from flowtx_engine.runtime.limits import EngineLimits
from flowtx_engine.runtime.open import open_engine as open
from flowtx_engine.runtime.schedules import NoSuchSchedule
from flowtx_engine.runtime.telling import AlreadyFinal

__all__ = [
    "NOT_DONE",
    "UNKNOWN",
    "Abort",
    "AlreadyFinal",
    "BrokenResourceError",
    "CancelScope",
    "Cancelled",
    "Check",
    "ClosedResourceError",
    "ConflictError",
    "CronSchedule",
    "CurrentStep",
    "Effect",
    "EndOfChannel",
    "Engine",
    "EngineClosed",
    "EngineLimits",
    "Event",
    "Filter",
    "FlowtxError",
    "ForeignAwaitError",
    "GidTaken",
    "GrpcTarget",
    "HttpTarget",
    "JournalError",
    "JournalUnavailable",
    "JsonRpcTarget",
    "Limit",
    "NoSuchSchedule",
    "NoSuchTransaction",
    "NoSuchWorkflow",
    "NondeterminismError",
    "NotDone",
    "NotInDoubt",
    "Nursery",
    "NurseryView",
    "Ongoing",
    "Overloaded",
    "PayloadCodec",
    "PayloadContext",
    "PayloadError",
    "QueryError",
    "QueueTarget",
    "ReceiveChannel",
    "Refused",
    "RemoteError",
    "Retry",
    "RunClosed",
    "RunView",
    "SchemaError",
    "SendChannel",
    "StepFault",
    "StepTimeout",
    "TaskView",
    "TooSlowError",
    "Transaction",
    "TransactionFailed",
    "Tx",
    "Unanswered",
    "Unknown",
    "UnreadablePayload",
    "Update",
    "Waiting",
    "Workflow",
    "WorkflowError",
    "WouldBlock",
    "__version__",
    "check",
    "current_step",
    "grpc",
    "http",
    "idempotent",
    "json_rpc",
    "once",
    "open",
    "queue",
    "workflow",
]
