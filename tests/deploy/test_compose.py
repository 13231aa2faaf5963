"""docker-compose.yml against the compose specification, and against what the command line and the settings know."""

import copy
import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from compose_spec import PyCompose

from store.api_keys import prefix_of
from tailwatch.cli import main
from tests.architecture.project import ROOT
from tests.deploy.deployed import DEPLOY, compose, dockerfile_of, last, ours, parsed_command

STACK = compose()
SERVICES: dict[str, Any] = STACK["services"]
OURS = ours(SERVICES)
CONFIGS = sorted(DEPLOY.glob("compose/*.yaml")) + sorted(DEPLOY.glob("kubernetes/base/config/*.yaml"))
CONFIGS += sorted(DEPLOY.glob("systemd/*.yaml"))


def read_strictly(stack: dict[str, Any]) -> None:
    """ValueError when it is not what the compose specification describes, or names what it does not define."""
    PyCompose.from_json(json.dumps(stack)).validate()


def test_the_file_is_what_the_specification_describes() -> None:
    read_strictly(STACK)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("services", "api", "depnds_on"), {}),
        (("services", "api", "read_only"), "maybe"),
        (("services", "api", "secrets"), ["nobody-made"]),
        (("services", "api", "healthcheck"), {"intervall": "5s"}),
        (("services", "api", "deploy"), {"resources": {"limits": {"memory": "1 elephant"}}}),
    ],
)
def test_the_reader_would_have_noticed(path: tuple[str, ...], value: object) -> None:
    stack = copy.deepcopy(STACK)
    part = stack
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(ValueError):
        read_strictly(stack)


def test_each_image_of_ours_is_built_by_one_service() -> None:
    # Builds run side by side, and two that export one name fail: "image already exists".
    built = [service["image"] for service in OURS.values() if "build" in service]
    assert sorted(built) == sorted({service["image"] for service in OURS.values()})


def test_every_wait_and_every_volume_is_for_something_that_is_there() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in SERVICES, name
            if how["condition"] == "service_healthy":
                known = "healthcheck" in SERVICES[other] or other in OURS
                assert known, f"{name} would wait for {other} for ever"
            if how["condition"] == "service_completed_successfully":
                assert SERVICES[other]["restart"] == "on-failure", f"{other} has to end"
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in STACK["volumes"] or source.startswith("./grafana/"), f"{name}: {volume}"


def test_no_wait_is_in_a_circle() -> None:
    waits = {name: set(service.get("depends_on", {})) for name, service in SERVICES.items()}
    while ready := {name for name, others in waits.items() if not others}:
        waits = {name: others - ready for name, others in waits.items() if name not in ready}
    assert waits == {}


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_service_of_ours_runs_a_command_that_exists_with_a_configuration_that_is_mounted(name: str) -> None:
    service = OURS[name]
    words = list(service.get("command", last(dockerfile_of(service), "CMD").words))
    config = parsed_command(words)["config"]
    (mounted,) = service["configs"]
    assert mounted["target"] == config
    assert (ROOT / STACK["configs"][mounted["source"]]["file"]).exists()


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_service_of_ours_may_do_no_more_than_it_needs(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "privileged" not in service
    assert {"cpus", "memory", "pids"} <= set(service["deploy"]["resources"]["limits"])
    assert service["logging"]["options"]["max-size"]


def test_others_images_are_pinned_and_held_as_tightly_as_they_can_be() -> None:
    for name in set(SERVICES) - set(OURS):
        service = SERVICES[name]
        tag = service["image"].partition(":")[2]
        assert tag[:1].isdigit(), f"{name}: {service['image']}"
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert "healthcheck" in service
        assert service["deploy"]["resources"]["limits"]["memory"]


def test_what_is_published_is_published_on_loopback_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert sorted(ports) == ["127.0.0.1:3000:3000", "127.0.0.1:8080:8080"]
    assert STACK["networks"]["inside"]["internal"] is True


def test_a_health_check_asks_where_the_configuration_has_the_part_listen() -> None:
    asked = {}
    for name, service in OURS.items():
        if service.get("healthcheck", {}).get("disable"):
            continue
        environment = last(dockerfile_of(service), "ENV").text
        url = service.get("environment", {}).get("HEALTH_URL") or environment.partition("HEALTH_URL=")[2].split()[0]
        asked[name] = url.removeprefix("http://127.0.0.1:")
        assert last(dockerfile_of(service), "HEALTHCHECK").text.endswith('"/opt/tailwatch/healthcheck.py"]')
    collectors = {"collector-1": "9102/healthz", "collector-2": "9102/healthz"}
    assert asked == {"agent": "9101/healthz", "api": "8080/readyz", **collectors}
    from tailwatch.settings import load_settings

    settings = {
        part: load_settings(DEPLOY / f"compose/{part}.yaml", environment={}).settings
        for part in ("agent", "collector", "api")
    }
    assert settings["agent"].agent.metrics_port == 9101
    assert settings["collector"].collector.metrics_port == 9102
    assert settings["api"].api.port == 8080


def test_secrets_come_as_files_that_the_services_name() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert "PASSWORD:" not in text.replace("POSTGRES_PASSWORD_FILE:", "").replace("PASSWORD__FILE:", "")
    for name, service in OURS.items():
        wanted = set()
        for config in service["configs"]:
            config_text = (ROOT / STACK["configs"][config["source"]]["file"]).read_text(encoding="utf-8")
            wanted = {word for word in STACK["secrets"] if f"/run/secrets/{word}" in config_text}
        wanted |= {word for word in STACK["secrets"] if f"/run/secrets/{word}" in " ".join(service.get("command", []))}
        if name == "topic":  # it makes a topic, and has no business with the database
            wanted -= {"postgres-password"}
        assert set(service.get("secrets", [])) == wanted, name


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.relative_to(DEPLOY).as_posix())
def test_a_deployed_configuration_is_right(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", str(config)]) == 0, capsys.readouterr().err


def test_secrets_are_drawn_once_and_only_their_owner_enters_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    run = [str(DEPLOY / "make-secrets"), str(folder)]
    subprocess.run(run, check=True, capture_output=True, timeout=60)
    made = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    assert set(made) == set(STACK["secrets"])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o644}, "containers run as others"
    assert all(prefix_of(made[name].strip()) for name in ("grafana-key", "agents-key")), "keys as ours look"
    assert len(set(made.values())) == len(made)
    subprocess.run(run, check=True, capture_output=True, timeout=60)
    assert {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()} == made


def test_secrets_stay_out_of_the_project() -> None:
    asked = subprocess.run(["git", "check-ignore", "-q", "deploy/secrets/grafana-key"], cwd=ROOT, check=False)
    assert asked.returncode == 0
