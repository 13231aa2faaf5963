"""One area of benchmarks as a command: tables, results as JSON, and the TARGET lines at the end."""

import argparse
import os
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Generic, TypeVar

from benchmarks import documented, results
from benchmarks.tables import Table
from benchmarks.targets import Scoreboard, Target

Sizing = TypeVar("Sizing")


@dataclass(frozen=True, slots=True)
class Area(Generic[Sizing]):
    """What is measured, and how large.

    tables: modules of benchmarks.<name>, each with `run(sizing, scoreboard) -> list[Table]`, imported only when its
        turn comes: a broken one costs its own targets.
    packages: whose versions the results name.
    """

    name: str
    about: str
    tables: tuple[str, ...]
    packages: tuple[str, ...]
    targets: Sequence[Target]
    full: Sizing
    quick: Sizing

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Runs what was asked for. 0 whether targets are reached or missed."""
        options = self._options(arguments)
        if options.docs:
            print(f"written: {documented.rewrite(self.name, results.path_of(self.name, quick=False))}")
            return 0
        started = time.monotonic()
        quick = options.quick or os.environ.get("QUICK") == "1"
        os.environ.setdefault("POLARS_MAX_THREADS", "1")  # before polars is imported: what one core does
        circumstances = results.circumstances(self.packages)
        print(f"{self.about}, {'QUICK: figures mean little' if quick else 'full run'}")
        for key in ("commit", "dirty", "date", "hardware", "python", "versions"):
            print(f"  {key}: {circumstances[key]}", flush=True)
        board = Scoreboard(self.targets)
        sizing = self.quick if quick else self.full
        tables = [table for name in options.only or self.tables for table in self._measured(name, sizing, board)]
        if options.only:
            board.fail_rest(f"not measured: --only {' '.join(options.only)}")
        path = options.out or (None if options.only else results.path_of(self.name, quick))
        if path is not None:
            more = {"absent": _absent(circumstances), "took_s": round(time.monotonic() - started)}
            results.save(path, self.name, quick, circumstances, tables, board, **more)
            print(f"results: {path.name}")
        print("\n".join(board.lines()))
        return 0

    def _options(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{self.name}", description=__doc__)
        parser.add_argument("--only", choices=self.tables, nargs="+", help="these tables; saved only with --out")
        parser.add_argument(
            "--quick", action="store_true", help="a smoke run under a minute, as QUICK=1 in the environment"
        )
        parser.add_argument("--out", type=Path, help="the JSON file to write")
        parser.add_argument("--docs", action="store_true", help="measure nothing: put the last full run into the docs")
        return parser.parse_args(arguments)

    def _measured(self, name: str, sizing: Sizing, board: Scoreboard) -> list[Table]:
        """One module's tables, printed. One that fails takes nothing with it but its own targets."""
        if find_spec(f"benchmarks.{self.name}.{name}") is None:
            print(f"table {name} is absent: this checkout has no benchmarks/{self.name}/{name}.py\n", flush=True)
            return []
        started = time.monotonic()
        try:
            found: list[Table] = import_module(f"benchmarks.{self.name}.{name}").run(sizing, board)
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
