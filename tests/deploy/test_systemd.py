"""The units of deploy/systemd, as systemd reads them."""

import configparser
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tailwatch.settings import load_settings
from tests.architecture.project import ROOT
from tests.counterparts.choice import missing
from tests.counterparts.programs import program
from tests.deploy.deployed import DEPLOY, parsed_command

UNITS = sorted(DEPLOY.glob("systemd/*.service"))
PROGRAM = "/opt/tailwatch/bin/tailwatch"
each_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)


def settings_of(unit: Path) -> dict[str, list[str]]:
    """Key -> values, as often as they are written."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text(encoding="utf-8").splitlines():
        key, sign, value = line.partition("=")
        if sign and not line.startswith(("#", "[")):
            found.setdefault(key, []).append(value)
    return found


@each_unit
def test_every_command_exists_and_has_the_unit_s_own_configuration(unit: Path) -> None:
    part = unit.stem.removeprefix("tailwatch-")
    settings = settings_of(unit)
    (start,) = settings["ExecStart"]
    for command in [start, *settings["ExecStartPre"], *settings.get("ExecReload", [])]:
        words = shlex.split(command)
        if words[0] == PROGRAM:
            assert parsed_command(words[1:])["config"] == f"/etc/tailwatch/{part}.yaml"
        else:
            assert words == ["/bin/kill", "-HUP", "$MAINPID"]
    assert ("ExecReload" in settings) is (part == "agent"), "the others change nothing at a SIGHUP"
    assert settings["RestartPreventExitStatus"] == ["2 78"]


@each_unit
def test_credentials_are_where_the_configuration_looks_for_them(unit: Path) -> None:
    part = unit.stem.removeprefix("tailwatch-")
    drop_in = settings_of(unit.with_name(f"{part}-credentials.conf"))
    loaded = {value.partition(":")[0] for value in drop_in["LoadCredential"]}
    text = unit.with_name(f"{part}.yaml").read_text(encoding="utf-8")
    assert set(re.findall(rf"/run/credentials/{unit.name}/([\w-]+)", text)) == loaded
    settings = load_settings(unit.with_name(f"{part}.yaml"), environment={}).settings
    assert settings.data_dir == f"/var/lib/{settings_of(unit)['StateDirectory'][0]}"


@each_unit
def test_systemd_reads_the_unit_without_a_complaint(unit: Path, tmp_path: Path) -> None:
    analyze = program("systemd-analyze")
    # What it starts is not installed here; everything else in the unit is as it is.
    stand_in = tmp_path / unit.name
    text = unit.read_text(encoding="utf-8").replace(PROGRAM, "/bin/true")
    stand_in.write_text(text, encoding="utf-8")
    done = subprocess.run([analyze, "verify", str(stand_in)], capture_output=True, text=True, check=False, timeout=120)
    about_it = [line for line in done.stderr.splitlines() if unit.name in line]
    assert about_it == []


@each_unit
def test_the_unit_is_as_closed_as_the_documentation_says(unit: Path) -> None:
    command = [program("systemd-analyze"), "security", "--offline=true", "--no-pager", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    found = re.search(r"Overall exposure level for \S+ (\d+\.\d+)", done.stdout)
    if found is None:
        missing(f"this systemd-analyze does not judge units that are not loaded: {done.stderr.strip()}")
    assert float(found[1]) <= 1.5
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    assert re.search(rf"`{re.escape(unit.name)}` \| 1\.\d", text)


def test_the_user_of_the_units_is_made() -> None:
    made = (DEPLOY / "systemd/tailwatch.sysusers").read_text(encoding="utf-8")
    users = {settings_of(unit)["User"][0] for unit in UNITS}
    assert users == {"tailwatch"}
    assert re.search(r"^u tailwatch - ", made, re.MULTILINE)


def test_every_drop_in_is_a_section_of_a_service() -> None:
    for path in DEPLOY.glob("systemd/*.conf"):
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        parser.read(path, encoding="utf-8")
        assert parser.sections() == ["Service"], path.name
