"""The files of deploy/ as their programs see them: what images are built from, and what compose makes of its file."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tailwatch.parsers import build_parser
from tests.architecture.project import ROOT

DEPLOY = ROOT / "deploy"
DOCKERFILES = (DEPLOY / "agent.Dockerfile", DEPLOY / "server.Dockerfile")
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a Dockerfile, its continued lines joined; `stage` counts from 0, -1 is before the first."""

    stage: int
    name: str
    words: tuple[str, ...]
    text: str


def instructions(dockerfile: Path) -> list[Instruction]:
    """Those of a Dockerfile, in order."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found: list[Instruction] = []
    stage = -1
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if not line.strip():
            continue
        name, _, rest = line.strip().partition(" ")
        stage += name == "FROM"
        words = yaml.safe_load(rest) if rest.startswith("[") else shlex.split(rest)
        found.append(Instruction(stage, name, tuple(words), rest))
    return found


def compose() -> dict[str, Any]:
    """docker-compose.yml with its variables at their defaults, its anchors merged, and without its templates."""
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    read = yaml.safe_load(_VARIABLE.sub(r"\2", text))
    return {key: value for key, value in read.items() if not key.startswith("x-")}


def ours(services: dict[str, Any]) -> dict[str, Any]:
    """The services that run an image of ours."""
    return {name: service for name, service in services.items() if service["image"].startswith("tailwatch-")}


def dockerfile_of(service: dict[str, Any]) -> Path:
    """What the service's image is built from, by the one service that builds it."""
    services = compose()["services"].values()
    (builder,) = [each for each in services if each["image"] == service["image"] and "build" in each]
    return ROOT / str(builder["build"]["dockerfile"])


def last(dockerfile: Path, name: str) -> Instruction:
    """The last instruction of this name: the one that counts."""
    return next(each for each in reversed(instructions(dockerfile)) if each.name == name)


def parsed_command(words: list[str]) -> dict[str, Any]:
    """What the command line makes of these arguments; SystemExit when it refuses them."""
    return vars(build_parser().parse_args(words))
