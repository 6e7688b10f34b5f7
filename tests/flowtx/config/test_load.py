"""Settings from everywhere: which source wins, what is refused and with which words, what is said to mean nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtx.config.dtm_keys import DTM_KEYS, dtm_variable
from flowtx.config.given import ConfigError
from flowtx.config.load import Loaded, load
from flowtx.settings import Settings, SettingsError, names, variable_of

Load = Callable[..., Loaded]


@pytest.fixture
def loads(tmp_path: Path) -> Load:
    """Loads settings from a file with this text, these variables and these options."""

    def load_from(text: str | None = None, options: Mapping[str, object] | None = None, **environment: str) -> Loaded:
        path = tmp_path / "flowtx.yml"
        if text is not None:
            path.write_text(text)
        return load(options or {}, file=path if text is not None else None, environment=environment)

    return load_from


# check 205
def test_without_a_word_from_anybody_the_defaults_are_in_force(loads: Load) -> None:
    loaded = loads()
    assert loaded.settings == Settings()
    assert set(loaded.origins) == set(names())
    assert set(loaded.origins.values()) == {"default"}
    assert not loaded.notices


# check 206
@given(st.sets(st.sampled_from(["option", "file", "dtm file", "environment", "dtm environment"])))
def test_options_win_over_the_file_and_the_file_over_the_environment(
    tmp_path_factory: pytest.TempPathFactory, said: set[str]
) -> None:
    """The law: option, flowtx's name in the file, DTM's, flowtx's variable, DTM's, default."""
    path = tmp_path_factory.mktemp("config") / "flowtx.yml"
    lines = {"file": "retry_interval_s: 21", "dtm file": "RetryInterval: 22"}
    path.write_text("\n".join(line for source, line in lines.items() if source in said) + "\nTimeoutToFail: 100\n")
    variables = {"environment": ("FLOWTX_RETRY_INTERVAL_S", "23"), "dtm environment": ("RETRY_INTERVAL", "24")}
    environment = dict(variable for source, variable in variables.items() if source in said)
    loaded = load({"retry_interval_s": 20} if "option" in said else {}, file=path, environment=environment)
    order = ["option", "file", "dtm file", "environment", "dtm environment"]
    values = dict(zip(order, range(20, 25), strict=True))
    expected = next((values[source] for source in order if source in said), 10)
    assert loaded.settings.retry_interval_s == expected


def test_where_a_value_came_from_is_known(loads: Load) -> None:
    loaded = loads(
        "\n\nactive_max: 5\nRetryInterval: 11\n", {"grace_s": 2.0}, FLOWTX_HEARTBEAT_S="1", REQUEST_TIMEOUT="4"
    )
    origins = loaded.origins
    assert origins["active_max"].endswith("flowtx.yml, line 3")
    assert origins["retry_interval_s"].startswith("RetryInterval (")
    assert origins["retry_interval_s"].endswith("flowtx.yml, line 4)")
    assert (origins["grace_s"], origins["heartbeat_s"]) == ("--grace-s", "FLOWTX_HEARTBEAT_S")
    assert (origins["request_timeout_s"], origins["park_after_s"]) == ("REQUEST_TIMEOUT", "default")


def test_every_setting_can_stand_in_a_file_and_in_the_environment(loads: Load) -> None:
    text = "".join(f"{name}: {_spelled(getattr(Settings(), name))}\n" for name in names())
    assert loads(text).settings == Settings()
    variables = {variable_of(name): _spelled(getattr(Settings(), name)) for name in names()} | {"FLOWTX_APP": " "}
    assert loads(**variables).settings == Settings()


def _spelled(value: object) -> str:
    return "[]" if value == () else str(value)


def test_several_apps_are_a_list_in_a_file_and_words_in_a_variable(loads: Load) -> None:
    assert loads("app: [bank, 'shop:flows']").settings.app == ("bank", "shop:flows")
    assert loads("app: bank").settings.app == ("bank",)
    assert loads(FLOWTX_APP="bank  shop:flows").settings.app == ("bank", "shop:flows")


# -- DTM


def test_a_deployment_of_dtm_is_understood(loads: Load) -> None:
    loaded = loads(
        "Store:\n  Driver: boltdb\nTimeoutToFail: 40\nRetryInterval: 12\n"
        "RequestTimeout: 5\nHttpPort: '8789'\nLogLevel: warn\n"
    )
    settings = loaded.settings
    assert (settings.db, settings.bind, settings.log_level) == ("sqlite:///flowtx.db", ":8789", "warning")
    assert (settings.timeout_to_fail_s, settings.retry_interval_s, settings.request_timeout_s) == (40, 12, 5)


def test_how_long_finished_transactions_are_kept_is_taken_from_dtm(loads: Load) -> None:
    assert loads().settings.retention_s == 7 * 24 * 3600
    loaded = loads("Store:\n  Driver: boltdb\n  DataExpire: 3600\n  FinishedDataExpire: 60\n")
    assert loaded.settings.retention_s == 3600
    assert loaded.origins["retention_s"].startswith("Store.DataExpire (")
    (notice,) = loaded.notices
    assert "how long finished transactions are kept is Store.DataExpire here" in notice
    assert loads(STORE_DATA_EXPIRE="120").settings.retention_s == 120


def test_grpc_listens_where_dtm_does_and_can_be_switched_off(loads: Load) -> None:
    assert loads("TransCronInterval: 3").settings.grpc_bind == ":36790"
    assert loads("GrpcPort: 8790").settings.grpc_bind == ":8790"
    assert loads(GRPC_PORT="8790").settings.grpc_bind == ":8790"
    assert loads("active_max: 3").settings.grpc_bind == "127.0.0.1:36790"
    assert not loads("grpc_bind: off").settings.serves_grpc
    assert not loads("grpc_bind: ''").settings.serves_grpc
    assert not loads(FLOWTX_GRPC_BIND="off").settings.serves_grpc


def test_a_file_of_dtm_listens_where_dtm_does_unless_it_says_otherwise(loads: Load) -> None:
    assert loads("TransCronInterval: 3").settings.bind == ":36789"
    assert loads("TransCronInterval: 3\nbind: 127.0.0.1:1").settings.bind == "127.0.0.1:1"
    assert loads("active_max: 3").settings.bind == "127.0.0.1:36789"
    assert loads(LOG_LEVEL="debug").settings.bind == "127.0.0.1:36789"


VARIABLES = {
    "Store.Driver": "STORE_DRIVER",
    "Store.MaxOpenConns": "STORE_MAX_OPEN_CONNS",
    "Store.ConnMaxLifeTime": "STORE_CONN_MAX_LIFE_TIME",
    "Store.FinishedDataExpire": "STORE_FINISHED_DATA_EXPIRE",
    "TransCronInterval": "TRANS_CRON_INTERVAL",
    "HttpPort": "HTTP_PORT",
    "JsonRpcPort": "JSON_RPC_PORT",
    "MicroService.EndPoint": "MICRO_SERVICE_END_POINT",
    "HttpMicroService.RegistryOptions": "HTTP_MICRO_SERVICE_REGISTRY_OPTIONS",
    "UpdateBranchAsyncGoroutineNum": "UPDATE_BRANCH_ASYNC_GOROUTINE_NUM",
    "Log.RotationConfigJSON": "LOG_ROTATION_CONFIG_JSON",
    "GrpcServiceConfig": "GRPC_SERVICE_CONFIG",
    "AlertWebHook": "ALERT_WEB_HOOK",
}


def test_dtms_variables_are_spelled_as_dtm_spells_them() -> None:
    assert {path: dtm_variable(path) for path in VARIABLES} == VARIABLES
    assert len({dtm_variable(path) for path in DTM_KEYS}) == len(DTM_KEYS)


# check 209
@pytest.mark.parametrize("path", sorted(DTM_KEYS))
def test_every_key_of_dtm_is_taken_from_a_file_and_from_the_environment_or_said_to_mean_nothing(
    loads: Load, path: str
) -> None:
    key = DTM_KEYS[path]
    valid = {"Store.Driver": "boltdb", "LogLevel": "warn", "MicroService.Driver": "default", "AlertWebHook": "http://x"}
    value = valid.get(path, "12" if key.is_whole else "x")
    section, _, name = path.rpartition(".")
    text = f"{section}:\n  {name}: {value}\n" if section else f"{name}: {value}\n"
    for loaded in (loads(text), loads(**{dtm_variable(path): value})):
        is_taken = any(path in origin or dtm_variable(path) in origin for origin in loaded.origins.values())
        is_told = any(notice.startswith((path, dtm_variable(path))) for notice in loaded.notices)
        assert is_taken != is_told, (loaded.origins, loaded.notices)


def test_an_empty_variable_counts_as_unset_and_a_key_without_a_value_says_nothing(loads: Load) -> None:
    assert (
        loads("RetryInterval:\nactive_max: ~\n", RETRY_INTERVAL="", FLOWTX_ACTIVE_MAX="").settings.active_max == 10_000
    )


# checks 207, 208
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("RetryInterval: 5", "RetryInterval should not be less than 10\n    found: RetryInterval (FILE, line 1) is 5"),
        (
            "TimeoutToFail: 9",
            "TimeoutToFail should not be less than RetryInterval\n    found: TimeoutToFail (FILE, line 1)",
        ),
        ("RetryInterval: 36", "TimeoutToFail should not be less than RetryInterval"),
        ("Store: {Driver: mysql}", "Db host not valid\n    found: Store.Host is not given"),
        ("Store: {Driver: mysql, Host: h}", "Db port not valid"),
        (
            "Store: {Driver: postgres, Host: h, Port: 0}",
            "Db port not valid\n    found: Store.Port (FILE, line 1) is '0'",
        ),
        ("Store: {Driver: postgres, Host: h, Port: 1}", "Db user not valid"),
        ("Store: {Driver: postgres, Host: h, Port: 1, User: u, Schema: ''}", "Postgres schema not valid"),
        ("Store: {Driver: redis}", "Redis host not valid"),
        ("Store: {Driver: redis, Host: h}", "Redis port not valid"),
        ("Store: {Driver: oracle}", "Store.Driver (FILE, line 1) is 'oracle', expected one of boltdb, mysql"),
        ("MicroService: {Driver: mine}", "MicroService.Driver (FILE, line 1) is 'mine', which DTM does not know"),
        ("LogLevel: loud", "LogLevel (FILE, line 1) is 'loud', expected one of debug, info, warn, error"),
        ("RequestTimeout: soon", "RequestTimeout (FILE, line 1) is 'soon', expected a whole number"),
        ("RequestTimeout: [3]", "RequestTimeout (FILE, line 1) is a list, expected one value"),
    ],
)
def test_what_dtm_refuses_to_start_with_is_refused_in_its_words(
    loads: Load, tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        loads(text)
    assert refused.value.message.startswith(message.replace("FILE", str(tmp_path / "flowtx.yml")))
    assert refused.value.remedy


def test_a_store_that_this_version_cannot_use_is_said_with_those_it_can(loads: Load) -> None:
    with pytest.raises(ConfigError, match="is redis: this version keeps journals in sqlite and memory only"):
        loads("Store: {Driver: redis, Host: h, Port: 6379}")


def test_a_wrong_variable_is_refused_by_its_name(loads: Load) -> None:
    with pytest.raises(ConfigError, match=r"RETRY_INTERVAL \(environment\) is 5"):
        loads(RETRY_INTERVAL="5")
    with pytest.raises(ConfigError, match=r"active_max is 0, expected at least 1 \(from FLOWTX_ACTIVE_MAX\)"):
        loads(FLOWTX_ACTIVE_MAX="0")


# -- flowtx's own


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        ("a: 1\n", "a (FILE, line 1) is no setting", "Remove it"),
        ("\nretryinterval: 1", "retryinterval (FILE, line 2) is no setting", "Did you mean RetryInterval?"),
        ("Store:\n  Hosts: h", "Store.Hosts (FILE, line 2) is no setting", "Did you mean Store.Host?"),
        ("active_max: many", "active_max (FILE, line 1) is 'many', expected a whole number", ""),
        ("grace_s: long", "grace_s (FILE, line 1) is 'long', expected a number", ""),
        ("log_level: loud", "log_level is 'loud', expected one of debug", ""),
        (
            "bind: here",
            "bind is 'here', expected an address and a port such as 127.0.0.1:36789 (from FILE, line 1)",
            "",
        ),
    ],
)
def test_a_line_that_cannot_work_is_refused_with_its_place(
    loads: Load, tmp_path: Path, text: str, message: str, remedy: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        loads(text)
    assert refused.value.message.startswith(message.replace("FILE", str(tmp_path / "flowtx.yml")))
    assert refused.value.remedy.startswith(remedy)


def test_a_wrong_option_is_the_callers_mistake(loads: Load) -> None:
    with pytest.raises(SettingsError, match="active_max is 0"):
        loads("active_max: 5", {"active_max": 0})


def test_a_misspelt_variable_is_told_and_others_variables_are_left_alone(loads: Load) -> None:
    loaded = loads(FLOWTX_RETRY_INTERVAL="5", PATH="/bin", FLOWTX_DEBUG="1")
    assert loaded.notices == (
        "FLOWTX_RETRY_INTERVAL (environment) is no setting: Did you mean FLOWTX_RETRY_INTERVAL_S?",
    )


def test_a_value_that_another_one_hides_is_told(loads: Load) -> None:
    (notice,) = loads("retry_interval_s: 3", RETRY_INTERVAL="20").notices
    assert notice.startswith("RETRY_INTERVAL (environment) is not used: retry_interval_s comes from ")
