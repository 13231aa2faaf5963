"""What every file must keep to: headers, sizes, names, and nothing of the machine it was written on."""

import ast
import re
import stat
from pathlib import Path

import pytest

from tests.architecture.project import PACKAGES, ROOT, files, sources, tree_of

# Written in parts so that this file does not match itself.
MACHINE = re.compile(
    r"(^|[^a-zA-Z0-9_.-])/(work|farm|root|home/[a-z]+)/"
    "|bash" + "_jobs"
    r"|https?://[a-z.]*(pypi|npmjs|pythonhosted|debian)[.]"
    r"|file:///(opt|usr|home)"
)
EMPTY_NAMES = {"utils", "util", "common", "helpers", "core", "misc", "base", "tools"}


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = []
    for path in files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # a golden file
            continue
        found += [
            f"{path.relative_to(ROOT)}:{n}" for n, line in enumerate(text.splitlines(), 1) if MACHINE.search(line)
        ]
    assert found == []


@pytest.mark.parametrize("line", ["see |work|x", "'|root|y'", "https:||files.pythonhosted.org|z", "a@file:|||opt|x"])
def test_the_search_for_machine_paths_finds_them(line: str) -> None:
    assert MACHINE.search(line.replace("|", "/"))


@pytest.mark.parametrize("line", ["docs/work/x", "at /api/v1/root", "https://no-color.org", "network/ x"])
def test_the_search_for_machine_paths_leaves_others_alone(line: str) -> None:
    assert not MACHINE.search(line)


def test_every_module_says_first_why_it_exists() -> None:
    poor = []
    for path in sources(*PACKAGES, "tests", "benchmarks"):
        header = ast.get_docstring(tree_of(path))
        first = header.splitlines()[0] if header else ""
        if len(first.split()) < 4 or not path.read_text(encoding="utf-8").startswith('"""'):
            poor.append(str(path.relative_to(ROOT)))
    assert poor == []


def test_no_module_grew_past_what_one_reason_needs() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources(*PACKAGES)}
    assert {str(path.relative_to(ROOT)): count for path, count in lines.items() if count > 500} == {}


def test_modules_are_named_after_what_they_hold() -> None:
    assert [str(path.relative_to(ROOT)) for path in sources(*PACKAGES) if path.stem.strip("_") in EMPTY_NAMES] == []


def test_every_package_draws_its_errors() -> None:
    for package in PACKAGES:
        header = ast.get_docstring(tree_of(ROOT / package / "errors.py")) or ""
        classes = [node.name for node in tree_of(ROOT / package / "errors.py").body if isinstance(node, ast.ClassDef)]
        assert [name for name in classes if name not in header] == [], package


def test_package_headers_hold_no_code() -> None:
    for package in PACKAGES:
        body = tree_of(ROOT / package / "__init__.py").body
        assert len(body) == 1, f"{package}/__init__.py: imports must stay light, leave it to its docstring"


def test_constraints_are_plain_pins() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)] == []
    assert len(lines) > 40


def test_every_target_of_the_makefile_is_explained() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    explained = set(re.findall(r"^([a-z-]+):.*## \S", text, re.MULTILINE))
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert set(phony.split()) <= explained
    assert {"help", "dev", "demo", "check", "test", "test-wheel", "test-servers", "bench", "clean"} <= explained


@pytest.mark.parametrize("name", ["run", "test-wheel"])
def test_ci_scripts_can_be_run_and_stop_at_the_first_failure(name: str) -> None:
    script: Path = ROOT / ".ci" / name
    assert script.stat().st_mode & stat.S_IXUSR
    assert "set -euo pipefail" in script.read_text(encoding="utf-8")
