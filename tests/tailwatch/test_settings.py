"""Settings: who wins over whom, where paths start, what is refused."""

import logging
import os
import socket
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from agents.sources.configs import DatagramsConfig
from tailwatch.errors import ConfigError, DataFolderError
from tailwatch.overlays import flag_tree
from tailwatch.renamed_keys import RENAMED
from tailwatch.settings import Settings, load_settings, variable_of
from tailwatch.socket_paths import MAX_SOCKET_BYTES, prepare_folder, short_socket

NO_ENVIRONMENT: dict[str, str] = {}


def written(folder: Path, text: str) -> Path:
    file = folder / "tailwatch.yaml"
    file.write_text(text, encoding="utf-8")
    return file


@examples(max_examples=32)
@given(given_in=st.sets(st.sampled_from(["file", "environment", "set", "flag"])))
def test_the_strongest_source_that_speaks_wins(tmp_path_factory: pytest.TempPathFactory, given_in: set[str]) -> None:
    ports = {"file": 1001, "environment": 1002, "set": 1003, "flag": 1004}
    file = written(tmp_path_factory.mktemp("c"), "api: {port: 1001, max_page: 5}\n" if "file" in given_in else "")
    loaded = load_settings(
        file,
        environment={"TAILWATCH_API__PORT": "1002"} if "environment" in given_in else {},
        assignments=["api.port=1003"] if "set" in given_in else [],
        flags=flag_tree({"api.port": ("--port", 1004 if "flag" in given_in else None)}),
    )
    strongest = [source for source in ports if source in given_in]
    assert loaded.settings.api.port == (ports[strongest[-1]] if strongest else 8080)
    assert loaded.settings.api.max_page == (5 if "file" in given_in else 1000)


def test_lists_are_replaced_whole(tmp_path: Path) -> None:
    file = written(tmp_path, "agent: {sources: [{kind: hiccups}, {kind: host}]}\n")
    loaded = load_settings(file, environment={"TAILWATCH_AGENT__SOURCES": "[{kind: host, interval_s: 5}]"})
    assert [source.interval_s for source in loaded.settings.agent.sources] == [5.0]  # type: ignore[union-attr]


def test_default_paths_lie_below_the_data_folder(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, "data_dir: d\n"), environment=NO_ENVIRONMENT).settings
    assert settings.database.url == f"sqlite:///{tmp_path}/d/tailwatch.db"
    assert settings.transport.path == f"{tmp_path}/d/log.db"
    assert settings.agent.spool_path == f"{tmp_path}/d/spool.db"


def test_relative_paths_start_from_the_file_that_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    file = written(
        tmp_path,
        "database: {url: 'sqlite:///a.db'}\ntransport: {path: ../b.db}\ntables: {hosts: h.csv}\n"
        "agent: {spool_path: s.db, sources: [{kind: replay, stream: x, path: r.csv}]}\n",
    )
    settings = load_settings(file, environment={"TAILWATCH_API__TELEMETRY_SOCKET": "t.sock"}).settings
    assert settings.database.url == f"sqlite:///{tmp_path}/a.db"
    assert settings.transport.path == f"{tmp_path.parent}/b.db"
    assert settings.tables == {"hosts": f"{tmp_path}/h.csv"}
    assert settings.agent.spool_path == f"{tmp_path}/s.db"
    assert settings.agent.sources[0].path == f"{tmp_path}/r.csv"  # type: ignore[union-attr]
    assert settings.api.telemetry_socket == f"{elsewhere}/t.sock"
    assert settings.data_dir == f"{elsewhere}/tailwatch-data"


@pytest.mark.parametrize(
    "url", ["sqlite:////abs/x.db", "postgresql+psycopg://u:p@h/d", "sqlite:///:memory:", "sqlite://"]
)
def test_other_database_addresses_are_taken_as_they_are(url: str) -> None:
    assert load_settings(None, environment={"TAILWATCH_DATABASE__URL": url}).settings.database.url == url


def test_text_in_a_variable_needs_no_quotes() -> None:
    settings = load_settings(None, environment={"TAILWATCH_AGENT__ID": "42", "TAILWATCH_AGENT__HOST": "true"}).settings
    assert (settings.agent.id, settings.agent.host) == ("42", "true")


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load_settings(None, environment={"TAILWATCH_API__PORT": ""}).settings.api.port == 8080


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "TAILWATCH_AGENT__CHEKPOINT_S",
            "environment TAILWATCH_AGENT__CHEKPOINT_S: agent.chekpoint_s: unknown key; did you mean checkpoint_s?",
        ),
        ("TAILWATCH_AGNET__ID", "environment TAILWATCH_AGNET__ID: agnet: unknown key; did you mean agent?"),
        (
            "TAILWATCH_AGENT____ID",
            "environment TAILWATCH_AGENT____ID: part of the name is empty; write TAILWATCH_SECTION__KEY",
        ),
    ],
)
def test_a_variable_that_names_no_setting_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(None, environment={name: "1"})
    assert caught.value.problems == (message,)


@pytest.mark.parametrize(
    ("old", "wanted"),
    [
        ("local", "write policy: all-src; without it"),
        ("drain", "write policy: all-sp; without it"),
        ("whatever", "write policy: all-src for execution: local, policy: all-sp for execution: drain; without it"),
        ("[local]", "write policy: all-src for execution: local, "),
    ],
)
def test_a_key_of_an_earlier_state_is_refused_with_what_to_write_instead(tmp_path: Path, old: str, wanted: str) -> None:
    file = written(tmp_path, f"agent:\n  execution: {old}\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(file, environment=NO_ENVIRONMENT)
    (said,) = caught.value.problems
    assert said.startswith(f"{file}:2:3: agent.execution: is called policy now; {wanted}")
    with pytest.raises(ConfigError, match=r"TAILWATCH_AGENT__EXECUTION: agent\.execution: is called policy now"):
        load_settings(None, environment={"TAILWATCH_AGENT__EXECUTION": old})


def test_what_is_written_instead_of_an_earlier_key_is_a_setting() -> None:
    for old, now in RENAMED.items():
        section, _, _ = old.rpartition(".")
        for value in now.values.values():
            load_settings(None, environment=NO_ENVIRONMENT, assignments=[f"{section}.{now.name}={value}"])


def test_variables_of_an_orchestrator_do_not_stop_a_start(caplog: pytest.LogCaptureFixture) -> None:
    environment = {
        "TAILWATCH_PORT": "tcp://10.0.0.1:80",
        "TAILWATCH_SERVICE_HOST": "10.0.0.1",
        "TAILWATCH_TEST_DATA": "x",
    }
    with caplog.at_level(logging.WARNING):
        load_settings(None, environment={**environment, "TAILWATCH_DATADIR": "/x"})
    assert [record.getMessage() for record in caplog.records] == [
        "variable TAILWATCH_DATADIR is not a setting and is ignored; did you mean TAILWATCH_DATA_DIR?"
    ]


@pytest.mark.parametrize("assignment", ["api.port", "=3", "api..port=3", "api.port=[1"])
def test_an_assignment_that_cannot_be_read_is_refused(assignment: str) -> None:
    with pytest.raises(ConfigError, match="flag --set"):
        load_settings(None, environment=NO_ENVIRONMENT, assignments=[assignment])


@pytest.mark.parametrize("part", ["agent", "api"])
def test_the_streams_of_one_part_are_refused_where_others_would_miss_them(part: str) -> None:
    with pytest.raises(ConfigError, match="move it to the top level"):
        load_settings(None, environment=NO_ENVIRONMENT, assignments=[f"{part}.streams={{probes: {{src: string}}}}"])


def test_a_stream_may_have_a_column_of_sketches() -> None:
    assignments = ["streams={latencies: {h: sketch, w: int64}}"]
    settings = load_settings(None, environment=NO_ENVIRONMENT, assignments=assignments).settings
    assert settings.agent.streams == {"latencies": {"h": "sketch", "w": "int64"}}


def test_labels_come_from_the_environment() -> None:
    settings = load_settings(None, environment={"TAILWATCH_AGENT__LABELS__RACK": "r12"}).settings
    assert settings.agent.place == {"rack": "r12", "tor": "", "dc": ""}


def test_agent_and_api_learn_the_streams_of_the_file() -> None:
    settings = load_settings(None, environment=NO_ENVIRONMENT, assignments=["streams={probes: {src: string}}"]).settings
    assert settings.agent.streams == settings.api.streams == {"probes": {"src": "string"}}


def test_listening_beyond_loopback_asks_for_keys_and_is_a_configuration_error_without() -> None:
    open_to_all = ["api.host=0.0.0.0"]
    assert load_settings(None, environment=NO_ENVIRONMENT, assignments=open_to_all).settings.api.asks_for_keys
    with pytest.raises(ConfigError, match=r"api\.host 0\.0\.0\.0 can be reached.*api\.auth is off"):
        load_settings(None, environment=NO_ENVIRONMENT, assignments=[*open_to_all, "api.auth=off"])


def test_every_given_key_remembers_who_gave_it(tmp_path: Path) -> None:
    file = written(tmp_path, "queries:\n  - name: a\n    sql: x\n")
    places = load_settings(file, environment={"TAILWATCH_LOG_LEVEL": "debug"}, assignments=["api.port=9"]).places
    assert str(places["queries[0].sql"]) == f"{file}:3:10"
    assert str(places["log_level"]) == "environment TAILWATCH_LOG_LEVEL"
    assert str(places["api.port"]) == "flag --set api.port=9"


def test_a_variable_is_named_after_its_key() -> None:
    assert variable_of("agent.checkpoint_s") == "TAILWATCH_AGENT__CHECKPOINT_S"


def test_a_long_socket_path_gets_a_short_stand_in_that_all_processes_agree_on(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    text = f"agent: {{sources: [{{kind: datagrams, stream: api_requests, path: {deep}/api.sock}}]}}\n"
    settings: Settings = load_settings(
        written(tmp_path, text + f"api: {{telemetry_socket: {deep}/api.sock}}\n"), environment=NO_ENVIRONMENT
    ).settings
    source = settings.agent.sources[0]
    assert isinstance(source, DatagramsConfig)
    assert source.path == settings.api.telemetry_socket
    assert len(os.fsencode(source.path)) <= MAX_SOCKET_BYTES
    prepare_folder(source.path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(source.path)
    Path(source.path).unlink()


def test_the_stand_in_folder_is_ours_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = short_socket("/" + "x" * 200)
    prepare_folder(path)
    assert stat.S_IMODE(Path(path).parent.stat().st_mode) == 0o700
    Path(path).parent.chmod(0o777)
    with pytest.raises(DataFolderError, match="remove it"):
        prepare_folder(path)


@pytest.mark.parametrize(
    ("url", "sign"),
    [("postgresql://me@db/tw", "?"), ("postgresql+psycopg://me@db/tw?sslmode=require", "&")],
)
def test_the_file_of_a_password_travels_with_the_address(tmp_path: Path, url: str, sign: str) -> None:
    file = written(tmp_path, f"database: {{url: '{url}', password_path: my secret}}\n")
    got = load_settings(file, environment=NO_ENVIRONMENT).settings.database.url
    assert got == f"{url}{sign}password_path={tmp_path}/my%20secret"


@pytest.mark.parametrize(
    ("url", "reason"),
    [("", "names no PostgreSQL server"), ("postgresql://me:secret@db/tw", "url holds a password, and password_path")],
)
def test_a_password_file_that_has_no_place_is_refused(tmp_path: Path, url: str, reason: str) -> None:
    file = written(tmp_path, f"database: {{url: '{url}', password_path: p}}\n")
    with pytest.raises(ConfigError, match=reason):
        load_settings(file, environment=NO_ENVIRONMENT)
