"""Results as files: benchmarks/results/<area>.json says what was measured, at which commit, on what and beside whom.

A quick run has a file of its own, <area>.quick.json, which git ignores: it never replaces the numbers of a full run.
"""

import json
import math
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.tables import Table
from benchmarks.targets import Scoreboard

ROOT = Path(__file__).resolve().parents[1]
LINE = 400
FOLDER = ROOT / "benchmarks" / "results"


def path_of(area: str, quick: bool, folder: Path = FOLDER) -> Path:
    """Where the results of an area lie."""
    return folder / (f"{area}.quick.json" if quick else f"{area}.json")


def save(
    path: Path,
    area: str,
    quick: bool,
    circumstances: Mapping[str, Any],
    tables: Sequence[Table],
    targets: Scoreboard,
    **more: Any,
) -> None:
    """Writes the file at once or not at all. NaN becomes null, floats keep seven digits; `more` keeps its names."""
    content = {
        "area": area,
        "quick": quick,
        **circumstances,
        "targets": targets.rows(),
        "tables": [table.data() for table in tables],
        **more,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = path.with_suffix(".tmp")
    waiting.write_text(_readable(_plain(content)) + "\n", encoding="utf-8")
    waiting.replace(path)


def circumstances(packages: Sequence[str]) -> dict[str, Any]:
    """Commit, date, hardware, Python and the version of each package; a package that is not installed has None.

    The dirty flag speaks of the code that ran: results and documents of earlier runs are no part of it.
    """
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--", ".", ":!benchmarks/results", ":!docs")),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": {
            "cpu": _cpu_model(),
            "cores": os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "python": platform.python_version(),
        "versions": {name: installed_version(name) for name in sorted(set(packages))},
    }


def installed_version(package: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """What git says about this checkout; None where there is no git or no checkout."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _plain(thing: Any) -> Any:
    """Without NaN and infinities, which JSON has not, and without NumPy's types."""
    if isinstance(thing, Mapping):
        return {str(key): _plain(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [_plain(value) for value in thing]
    if hasattr(thing, "item") and not isinstance(thing, str | bytes):
        return _plain(thing.item())
    if isinstance(thing, float):
        return float(f"{thing:.7g}") if math.isfinite(thing) else None
    return thing


def _readable(thing: Any, indent: str = "") -> str:
    """JSON with a line for whatever fits one, such as a row of a table: a change of one row is a change of one line."""
    line = json.dumps(thing, ensure_ascii=False, allow_nan=False)
    if len(line) + len(indent) <= LINE or not isinstance(thing, dict | list):
        return line
    inner = indent + " "
    if isinstance(thing, dict):
        parts = [f"{json.dumps(key, ensure_ascii=False)}: {_readable(value, inner)}" for key, value in thing.items()]
    else:
        parts = [_readable(value, inner) for value in thing]
    left, right = "{}" if isinstance(thing, dict) else "[]"
    return f"{left}\n{inner}" + f",\n{inner}".join(parts) + f"\n{indent}{right}"
