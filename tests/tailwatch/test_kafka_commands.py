"""Kafka from the command line: settings with their places, secrets hidden, topics made, refusals with exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tailwatch.cli import main
from tailwatch.errors import ConfigError
from tailwatch.settings import load_settings
from tests.counterparts.broker import new_topic_name
from tests.counterparts.choice import free_port
from tests.promptness import promptly
from tests.system.stack import until
from tests.tailwatch.test_how_to import blocks

COMMAND = (sys.executable, "-P", "-m", "tailwatch.cli")
LIGHT = """
import sys
from tailwatch.settings import load_settings
from tailwatch.transports import open_publisher
publisher = open_publisher(load_settings(None, assignments=["data_dir=" + sys.argv[1]]).settings)
publisher.close()
sys.exit("kafka" in sys.modules)
"""


def over(server: str, *more: str) -> list[str]:
    assignments = ["transport.kind=kafka", f"transport.kafka.servers=[{server}]", *more]
    return [word for assignment in assignments for word in ("--set", assignment)]


def test_kafka_is_imported_only_where_it_is_configured(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_mistake_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "tailwatch.yaml"
    file.write_text("transport:\n  kind: kafka\n  kafka:\n    servers: [broker:9092]\n    sasl: plain\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(file)
    assert len(caught.value.problems) == 1
    assert "tailwatch.yaml:4:5: transport.kafka: sasl: plain wants sasl_user" in caught.value.problems[0]
    file.write_text("transport: {kind: kafka}\n")
    with pytest.raises(ConfigError, match=r"kafka\.servers names no broker; set it, for example to"):
        load_settings(file)


def test_passwords_come_from_the_environment_and_are_hidden(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for key, value in (("SASL", "plain"), ("SASL_USER", "agent"), ("SASL_PASSWORD", "hunter2")):
        monkeypatch.setenv(f"TAILWATCH_TRANSPORT__KAFKA__{key}", value)
    assert (
        main(["config", "show", *over("b:9092", "transport.kafka.tls=true", "transport.kafka.tls_ca_path=ca.pem")]) == 0
    )
    shown = capsys.readouterr().out
    assert "hunter2" not in shown
    assert 'transport.kafka.sasl_password = "***"' in shown
    assert f'transport.kafka.tls_ca_path = "{Path.cwd()}/ca.pem"' in shown
    assert 'collector.topic = "kafka:tailwatch"' in shown


def test_the_path_of_a_password_file_is_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    user = ("transport.kafka.sasl=plain", "transport.kafka.sasl_user=u", "transport.kafka.sasl_password_path=/etc/pw")
    assert main(["config", "show", *over("b:9092", *user)]) == 0
    assert 'transport.kafka.sasl_password_path = "/etc/pw"' in capsys.readouterr().out


def test_a_topic_is_made_and_checked(kafka_server: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = new_topic_name()
    settings = over(kafka_server, f"transport.kafka.topic={name}")
    assert main(["topic", "check", *settings]) == 1
    assert f"there is no topic '{name}'" in capsys.readouterr().err
    assert main(["topic", "create", *settings, "--partitions", "3"]) == 0
    assert f"topic {name} made, 3 partitions, 1 copies of each" in capsys.readouterr().out
    assert main(["topic", "create", *settings, "--partitions", "3"]) == 0
    assert main(["topic", "check", *settings]) == 0
    assert capsys.readouterr().out.count(f"topic {name} is there, 3 partitions") == 2
    assert main(["topic", "create", *settings, "--partitions", "4"]) == 1
    assert "has 3 partitions, wanted 4" in capsys.readouterr().err


def test_topic_commands_want_kafka_and_a_broker_that_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["topic", "check"]) == 78
    assert "transport.kind is embedded, which has no topic; wanted kafka" in capsys.readouterr().err
    assert main(["topic", "check", *over(f"127.0.0.1:{free_port()}")]) == 1
    assert "connection refused" in capsys.readouterr().err


@pytest.mark.system
def test_a_collector_without_its_topic_ends_and_one_without_a_broker_goes_on(kafka_server: str, tmp_path: Path) -> None:
    data = ["--data", str(tmp_path)]
    assert main(["db", "upgrade", *data]) == 0
    run = [*COMMAND, "collector", "run", *data]
    absent = over(kafka_server, f"transport.kafka.topic={new_topic_name()}")
    done = subprocess.run([*run, *absent], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "create it with `tailwatch topic create`" in done.stderr
    log = tmp_path / "waiting.log"
    with log.open("wb") as file:
        waiting = subprocess.Popen([*run, *over(f"127.0.0.1:{free_port()}")], stderr=file)
    try:
        until(lambda: waiting.poll() is not None or "connection refused" in log.read_text(), 60, "it tries")
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(3)
        waiting.terminate()
        with promptly(1.5):
            waiting.wait(60)
    finally:
        waiting.kill()
        waiting.wait()
    assert waiting.returncode == 0
    assert 1 <= log.read_text().count("connection refused") <= 2, log.read_text()


def test_the_configuration_of_the_how_to_is_sound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ((_, content),) = blocks("run-over-kafka.md")
    file = tmp_path / "tailwatch.yaml"
    file.write_text(content, encoding="utf-8")
    assert main(["config", "check", str(file)]) == 0
    assert ": ok" in capsys.readouterr().out
