"""The images as far as they can be looked at without an engine: what is copied, who runs it, and what it is told."""

import fnmatch
import http.server
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.project import PACKAGES, ROOT, files
from tests.deploy.deployed import DEPLOY, DOCKERFILES, Instruction, instructions, last, parsed_command

each_image = pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)


def let_in(path: str) -> bool:
    """Whether .dockerignore lets a path of the project into the build: the last pattern that matches decides."""
    allowed = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!").removeprefix("**/")
        parts = path.split("/")
        begins = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        anywhere = "**/" in line and any(fnmatch.fnmatch(part, pattern) for part in parts)
        if anywhere or any(fnmatch.fnmatch(begin, pattern) for begin in begins):
            allowed = line.startswith("!")
    return allowed


def copied(dockerfile: Path) -> list[Instruction]:
    """The instructions that copy from the project."""
    return [each for each in instructions(dockerfile) if each.name == "COPY" and not each.text.startswith("--from")]


@each_image
def test_what_is_copied_exists_and_reaches_the_build(dockerfile: Path) -> None:
    sources = [source for each in copied(dockerfile) for source in each.words[:-1] if not source.startswith("--")]
    assert set(PACKAGES) <= set(sources), "a package of ours is missing in the wheel"
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [source for source in sources if not let_in(source)] == []


@each_image
def test_what_others_have_to_read_in_the_image_is_readable_also_from_a_checkout_that_is_not(dockerfile: Path) -> None:
    # With a umask of 077 the checkout's files are their owner's alone, and a copy would be root's.
    runtime = max(each.stage for each in instructions(dockerfile))
    plain = [each for each in copied(dockerfile) if each.stage == runtime]
    assert plain
    assert [each.text for each in plain if "--chmod=0444" not in each.words] == []


def test_nothing_else_reaches_the_build() -> None:
    words = [word for dockerfile in DOCKERFILES for each in copied(dockerfile) for word in each.words[:-1]]
    named = {word for word in words if not word.startswith("--")}
    reached = {path.relative_to(ROOT).as_posix() for path in files()}
    reached |= {"deploy/secrets/grafana-key", ".venv/bin/python", ".git/config", "tailwatch-data/tailwatch.db"}
    stray = {
        path
        for path in reached
        if let_in(path) and not any(path == name or path.startswith(f"{name}/") for name in named)
    }
    assert stray == set()


@each_image
def test_both_stages_have_one_debian_and_one_python_and_the_release_is_one_that_we_support(dockerfile: Path) -> None:
    steps = instructions(dockerfile)
    (pinned,) = [each.words[0].removeprefix("PYTHON=") for each in steps if each.stage == -1 and each.name == "ARG"]
    assert re.fullmatch(r"3\.\d+-slim-(bookworm|trixie)", pinned), "Debian and the minor release of Python, both"
    assert tuple(int(part) for part in pinned.split("-")[0].split(".")) >= (3, 11)
    froms = [each.words[0] for each in steps if each.name == "FROM"]
    assert froms == ["python:${PYTHON}"] * 2


@each_image
def test_it_runs_as_a_number_without_rights_and_ends_on_sigterm(dockerfile: Path) -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last(dockerfile, "USER").words[0]), "a name says nothing to Kubernetes"
    assert last(dockerfile, "STOPSIGNAL").words == ("SIGTERM",)
    owner = re.search(r"chown (\S+) ", last(dockerfile, "RUN").text)
    assert owner is not None
    assert owner[1] == last(dockerfile, "USER").words[0], "its volumes belong to it"


@each_image
def test_what_it_runs_is_a_command_of_this_release(dockerfile: Path) -> None:
    assert last(dockerfile, "ENTRYPOINT").words == ("tailwatch",)
    assert parsed_command(list(last(dockerfile, "CMD").words))["config"].startswith("/etc/tailwatch/")


@each_image
def test_the_runtime_stage_has_neither_pip_nor_a_shell_script_to_start_with(dockerfile: Path) -> None:
    text = " ".join(each.text for each in instructions(dockerfile) if each.stage == 0)
    assert "venv --without-pip /opt/tailwatch" in text
    assert "-c constraints.txt" in text
    runtime = [each for each in instructions(dockerfile) if each.stage == 1]
    assert [each.words[0] for each in runtime if each.name == "RUN"] == ["mkdir"]


@each_image
def test_extras_of_an_image_exist(dockerfile: Path) -> None:
    import tomllib

    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    (extras,) = [
        each.words[0].removeprefix("EXTRAS=").split(",")
        for each in instructions(dockerfile)
        if each.stage == 0 and each.name == "ARG"
    ]
    assert set(extras) <= set(known)


class _Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = int(self.path.removeprefix("/"))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"the database does not answer")

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def health_server() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Health)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def checked(url: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HEALTH_URL": url, **more}
    command = [sys.executable, str(DEPLOY / "healthcheck.py")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_the_health_check_says_yes_or_why_not(health_server: str) -> None:
    well = checked(f"{health_server}/200", http_proxy="http://127.0.0.1:1")
    assert (well.returncode, well.stdout + well.stderr) == (0, ""), "a proxy is not asked"
    ill = checked(f"{health_server}/503")
    assert ill.returncode == 1
    assert "503 the database does not answer" in ill.stderr
    gone = checked("http://127.0.0.1:1/healthz")
    assert gone.returncode == 1
    assert "refused" in gone.stderr
