"""One area of benchmarks as a command: tables, results as JSON, and the TARGET lines at the end."""

import argparse
import json
import os
import time
import traceback
from collections.abc import Mapping, Sequence
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
    pictures: a module of benchmarks.<name> with `draw(content, folder) -> list[Path]`, which makes plots of saved
        results; "" draws nothing.
    findings: a module of benchmarks.<name> with `found(content) -> list[str]`, Markdown that says in words what saved
        results show; "" says nothing.
    """

    name: str
    about: str
    tables: tuple[str, ...]
    packages: tuple[str, ...]
    targets: Sequence[Target]
    full: Sizing
    quick: Sizing
    pictures: str = ""
    findings: str = ""

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Runs what was asked for. 0 whether targets are reached or missed."""
        options = self._options(arguments)
        if options.docs:
            # Numbers in the docs are of a full run with all its tables, whatever else was asked for.
            options = argparse.Namespace(docs=True, quick=False, only=None, out=None)
            if results.path_of(self.name, quick=False).exists():
                return self._documented()
        started = time.monotonic()
        quick = not options.docs and (options.quick or os.environ.get("QUICK") == "1")
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
            self._draw(path, path.parent if options.out else results.FOLDER / "plots" if quick else self._folder)
        if options.docs:
            self._documented()
        print("\n".join(board.lines()))
        return 0

    def _documented(self) -> int:
        """Puts the last full run into the docs."""
        last = results.path_of(self.name, quick=False)
        print(f"written: {documented.rewrite(self.name, last, pictures=self._shown)}")
        return 0

    def _options(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{self.name}", description=__doc__)
        parser.add_argument("--only", choices=self.tables, nargs="+", help="these tables; saved only with --out")
        parser.add_argument(
            "--quick", action="store_true", help="a smoke run under a minute, as QUICK=1 in the environment"
        )
        parser.add_argument("--out", type=Path, help="the JSON file to write")
        parser.add_argument(
            "--docs", action="store_true", help="put the last full run into the docs, made first where there is none"
        )
        return parser.parse_args(arguments)

    def _measured(self, name: str, sizing: Sizing, board: Scoreboard) -> list[Table]:
        """One module's tables, printed. One that fails takes nothing with it but its own targets."""
        if find_spec(f"benchmarks.{self.name}.{name}") is None:
            print(f"table {name} is absent: this checkout has no benchmarks/{self.name}/{name}.py\n", flush=True)
            return []
        started, spent_s = time.monotonic(), time.process_time()
        try:
            found: list[Table] = import_module(f"benchmarks.{self.name}.{name}").run(sizing, board)
        except Exception as error:  # noqa: BLE001  # the other tables are still worth having
            traceback.print_exc()
            print(f"table {name} failed: {type(error).__name__}: {error}")
            return []
        for table in found:
            print(table.text())
        took_s, cpu_s = time.monotonic() - started, time.process_time() - spent_s
        print(f"{name} took {took_s:.0f} s, {cpu_s:.0f} s of CPU in this process\n", flush=True)
        return found

    @property
    def _folder(self) -> Path:
        return documented.PAGE.parent / "images" / self.name

    def _shown(self, content: Mapping[str, object]) -> list[str]:
        """What stands before the tables: what was found, in words, and the plots of the last full run."""
        words: list[str] = []
        if self.findings:
            words = import_module(f"benchmarks.{self.name}.{self.findings}").found(content)
        return words + [
            f"![{path.stem}](images/{self.name}/{path.name})\n" for path in sorted(self._folder.glob("*.png"))
        ]

    def _draw(self, path: Path, folder: Path) -> None:
        """Plots of what was saved; without them the numbers are still worth having."""
        if not self.pictures:
            return
        content = json.loads(path.read_text(encoding="utf-8"))
        try:
            drawn = import_module(f"benchmarks.{self.name}.{self.pictures}").draw(content, folder)
        except Exception as error:  # noqa: BLE001
            traceback.print_exc()
            print(f"plots failed: {type(error).__name__}: {error}")
        else:
            print("plots: " + ", ".join(one.name for one in drawn))


def _absent(circumstances: dict[str, object]) -> dict[str, str]:
    versions = circumstances["versions"]
    assert isinstance(versions, dict)
    return {name: "not installed" for name, found in versions.items() if not found}
