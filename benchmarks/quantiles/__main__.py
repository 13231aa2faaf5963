"""Command line of the sketch benchmarks: tables, results as JSON, plots, and the TARGET lines at the end."""

import argparse
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import results
from benchmarks.quantiles import accuracy, adding, cliffs, documented, grouped, merging, sizes
from benchmarks.quantiles.goals import TARGETS, score_errors, windows
from benchmarks.quantiles.peers.method import described
from benchmarks.quantiles.peers.registry import ADAPTERS, Field, load_field
from benchmarks.quantiles.sizing import FULL, QUICK, Sizing
from benchmarks.tables import Table
from benchmarks.targets import Scoreboard

AREA = "quantiles"
TABLES: dict[str, Callable[[Field, Sizing, Scoreboard], list[Table]]] = {
    "adding": adding.run,
    "merging": merging.run,
    "grouped": grouped.run,
    "cliffs": cliffs.run,
    "sizes": sizes.run,
}
ACCURACY, WINDOWS = "accuracy", "windows"
PICTURES = results.ROOT / "docs" / "images" / "quantiles"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what was asked for. 0 whether targets are reached or missed."""
    options = _options(arguments)
    if options.docs:
        print(f"written: {documented.rewrite(results.path_of(AREA, quick=False))}")
        return 0
    started = time.monotonic()
    quick = options.quick or os.environ.get("QUICK") == "1"
    os.environ.setdefault("POLARS_MAX_THREADS", "1")  # before polars is imported
    circumstances = results.circumstances([*ADAPTERS.values(), "numpy", "numba", "matplotlib"])
    field = load_field()
    _print_circumstances(circumstances, field, quick)
    board = Scoreboard(TARGETS)
    pictures = options.out.parent if options.out else results.FOLDER / "plots" if quick or options.only else PICTURES
    tables, more = _measured(options.only, field, QUICK if quick else FULL, board, pictures)
    if options.only:
        board.fail_rest(f"not measured: --only {options.only}")
    path = options.out or (None if options.only else results.path_of(AREA, quick))
    if path is not None:
        more["methods"] = [described(method) for method in field.methods]
        more["took_s"] = round(time.monotonic() - started)
        results.save(path, AREA, quick, circumstances | {"absent": field.absent}, tables, board, **more)
        print(f"results: {path.name}")
    print("\n".join(board.lines()))
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quantiles", description=__doc__)
    parser.add_argument("--only", choices=[*TABLES, ACCURACY, WINDOWS], help="one table; saved only with --out")
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run under a minute, as QUICK=1 in the environment"
    )
    parser.add_argument("--out", type=Path, help="the JSON file to write; plots go beside it")
    parser.add_argument("--docs", action="store_true", help="measure nothing: put the last full run into the docs")
    return parser.parse_args(arguments)


def _measured(
    only: str | None, field: Field, size: Sizing, board: Scoreboard, pictures: Path
) -> tuple[list[Table], dict[str, object]]:
    """All tables, printed as they come. A table that fails takes nothing with it but its own targets."""
    tables: list[Table] = []
    more: dict[str, object] = {}
    for name, run in TABLES.items():
        if only in (None, name):
            try:
                _print(found := run(field, size, board))
                tables += found
            except Exception as error:  # noqa: BLE001  # the other tables are still worth having
                traceback.print_exc()
                print(f"table {name} failed: {type(error).__name__}: {error}")
    if only in (None, ACCURACY, WINDOWS):
        largest = math.nan
        if only != WINDOWS:
            try:
                found, largest = accuracy.run(field, size)
                _print(found)
                tables += found
            except Exception as error:  # noqa: BLE001  # the other tables are still worth having
                traceback.print_exc()
                print(f"table {ACCURACY} failed: {type(error).__name__}: {error}")
        if only != ACCURACY:
            experiment, drawn, trouble = windows(size.quick, pictures)
            print(trouble or "plots: " + ", ".join(path.name for path in drawn))
            score_errors(board, largest, experiment, trouble)
            if experiment is not None:
                tables += experiment.tables()
            more["windows"] = {
                "columns": [] if experiment is None else list(experiment.rows[0]),
                "rows": [] if experiment is None else [list(row.values()) for row in experiment.rows],
                "plots": [path.name for path in drawn],
                "trouble": trouble,
            }
    return tables, more


def _print(tables: Sequence[Table]) -> None:
    for table in tables:
        print(table.text(), flush=True)


def _print_circumstances(circumstances: dict[str, object], field: Field, quick: bool) -> None:
    print(f"Sketch benchmarks, {'QUICK: figures mean little' if quick else 'full run'}")
    for key in ("commit", "dirty", "date", "hardware", "python"):
        print(f"  {key}: {circumstances[key]}")
    versions = circumstances["versions"]
    assert isinstance(versions, dict)
    print("  versions: " + ", ".join(f"{name} {found or 'absent'}" for name, found in versions.items()))
    print("".join(f"  {note}\n" for note in field.notes()), flush=True)


if __name__ == "__main__":
    sys.exit(main())
