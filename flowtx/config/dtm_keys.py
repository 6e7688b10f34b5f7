"""DTM's configuration keys: their names in a file and in the environment, and what each means here (spec 7).

The law of this file: it is a table. A key is either taken into a setting of flowtx, or part of the database's URL, or
means nothing here, and then the table says why, for whoever has it in a file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DtmKey:
    """One key of DTM: the ``setting`` it is taken into ("" when it is read together with others), or why it is not."""

    is_whole: bool = False
    setting: str = ""
    means_nothing: str = ""


def _text(setting: str = "") -> DtmKey:
    return DtmKey(setting=setting)


def _whole(setting: str = "") -> DtmKey:
    return DtmKey(is_whole=True, setting=setting)


def _nothing(why: str, *, is_whole: bool = False) -> DtmKey:
    return DtmKey(is_whole=is_whole, means_nothing=why)


_POOL = "the journal has connections of its own, as many as it uses"
_REGISTRY = "flowtx registers nowhere: name participants by address"
_DURABLE = "flowtx acknowledges nothing before it is durable"
_ROTATION = "flowtx logs to stderr: let whatever starts it keep and rotate the log"

DTM_KEYS: Mapping[str, DtmKey] = {
    "Store.Driver": _text(),
    "Store.Host": _text(),
    "Store.Port": _whole(),
    "Store.User": _text(),
    "Store.Password": _text(),
    "Store.Db": _text(),
    "Store.Schema": _text(),
    "Store.MaxOpenConns": _nothing(_POOL, is_whole=True),
    "Store.MaxIdleConns": _nothing(_POOL, is_whole=True),
    "Store.ConnMaxLifeTime": _nothing(_POOL, is_whole=True),
    "Store.DataExpire": _whole(),
    "Store.FinishedDataExpire": _whole(),
    "Store.RedisPrefix": _nothing("flowtx names its keys itself"),
    "TransCronInterval": _nothing("flowtx wakes when something is due", is_whole=True),
    "TimeoutToFail": _whole("timeout_to_fail_s"),
    "RetryInterval": _whole("retry_interval_s"),
    "RequestTimeout": _whole("request_timeout_s"),
    "HttpPort": _whole(),
    "GrpcPort": _whole(),
    "JsonRpcPort": _nothing("JSON-RPC is served on the HTTP port, by DTM too", is_whole=True),
    "MicroService.Driver": _nothing(_REGISTRY),
    "MicroService.Target": _nothing(_REGISTRY),
    "MicroService.EndPoint": _nothing(_REGISTRY),
    "HttpMicroService.Driver": _nothing(_REGISTRY),
    "HttpMicroService.RegistryType": _nothing(_REGISTRY),
    "HttpMicroService.RegistryAddress": _nothing(_REGISTRY),
    "HttpMicroService.RegistryOptions": _nothing(_REGISTRY),
    "HttpMicroService.Target": _nothing(_REGISTRY),
    "HttpMicroService.EndPoint": _nothing(_REGISTRY),
    "UpdateBranchSync": _nothing(_DURABLE, is_whole=True),
    "UpdateBranchAsyncGoroutineNum": _nothing(_DURABLE, is_whole=True),
    "LogLevel": _text(),
    "Log.Outputs": _nothing(_ROTATION),
    "Log.RotationEnable": _nothing(_ROTATION, is_whole=True),
    "Log.RotationConfigJSON": _nothing(_ROTATION),
    "TimeZoneOffset": _nothing("instants carry their zone"),
    "ConfigUpdateInterval": _nothing("topics are read where they are used", is_whole=True),
    "AlertRetryLimit": _whole("alert_retry_limit"),
    "AlertWebHook": _text("alert_web_hook"),
    "AdminBasePath": _nothing("this version has no web console"),
    "GrpcServiceConfig": _nothing("gRPC calls go round the addresses of a name, as DTM's do by default"),
}
"""Every key of DTM, by its path in the file."""

NO_KEYS: Mapping[str, str] = {"GrpcBalancer": "DTM does not read it either, although it stands in its sample file"}
"""What DTM's own sample file holds and DTM ignores."""

MICROSERVICE_DRIVERS = frozenset(
    {
        "",
        "default",
        "dtm-driver-dapr",
        "dtm-driver-ego",
        "dtm-driver-gozero",
        "dtm-driver-kratos",
        "dtm-driver-polaris",
        "dtm-driver-springcloud",
        "dtm-driver-sponge",
    }
)
"""What DTM knows; it does not start with any other name (spec 8.5)."""

_WORD_BEGINS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def dtm_variable(path: str) -> str:
    """The environment variable of a key: ``Store.MaxOpenConns`` is ``STORE_MAX_OPEN_CONNS`` (spec 7)."""
    return _WORD_BEGINS.sub("_", path.replace(".", "_")).upper()
