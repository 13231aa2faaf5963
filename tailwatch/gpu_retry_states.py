"""Files of what retry advice has learned: the state in use, and the generations before it that one can go back to.

`FILE` is in use; `FILE.7` is generation 7. Each saving writes a whole file beside it and puts that in its place, so
that whenever the machine stops, there is a whole state. Who changes a state holds `FILE.lock` from reading to saving.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tailwatch.errors import TailwatchError

if TYPE_CHECKING:
    from analytics.gpu.retry_model import RetryModel
    from analytics.gpu.retry_priors import Priors

#: Generations that are kept beside the one in use.
KEPT = 10


@dataclass(frozen=True, slots=True)
class StateFile:
    """A state and where it came from; `digest` is "" where there is no file yet."""

    path: Path
    model: "RetryModel"
    digest: str


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep other processes from changing the state meanwhile; waits until they have done.

    The lock file stays: who deleted it would let two processes hold one lock each.
    """
    with path.with_name(f"{path.name}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def read_state(path: Path, priors: "Priors | None", seed: int) -> StateFile:
    """The state of a file, or a new one where there is none.

    Raises:
        ModelFileError: the file is damaged, of a newer release, or no state.
    """
    from analytics.gpu.retry_model import RetryModel
    from analytics.gpu.retry_priors import shipped_priors
    from analytics.gpu.retry_state import load_state, state_digest

    if not path.exists():
        return StateFile(path, RetryModel(seed=seed, priors=priors or shipped_priors()), "")
    data = path.read_bytes()
    return StateFile(path, load_state(data, priors), state_digest(data))


def save_state(file: StateFile, origin: str) -> int:
    """Put what the model knows into the file as the next generation, and keep the one before; returns its number.

    Raises:
        TailwatchError: the file is not the one that was read.
    """
    from analytics.gpu.retry_state import dump_state, state_digest

    before = file.path.read_bytes() if file.path.exists() else b""
    if (state_digest(before) if before else "") != file.digest:
        raise TailwatchError(f"{file.path} changed since it was read; run the command again")
    if before:
        _replace(file.path.with_name(f"{file.path.name}.{file.model.generation}"), before)
    file.model.generation += 1
    file.model.origin = origin
    _replace(file.path, dump_state(file.model, file.digest))
    for number in generations(file.path)[:-KEPT]:
        file.path.with_name(f"{file.path.name}.{number}").unlink(missing_ok=True)
    return file.model.generation


def generations(path: Path) -> list[int]:
    """Numbers of the earlier generations beside a file, ascending."""
    form = re.compile(re.escape(path.name) + r"\.([0-9]{1,18})")
    found = (form.fullmatch(each.name) for each in path.parent.iterdir()) if path.parent.is_dir() else ()
    return sorted(int(match[1]) for match in found if match)


def go_back(path: Path, generation: int, priors: "Priors | None" = None) -> StateFile:
    """Put what an earlier generation knew into the file, as a new generation.

    Also where the file is gone, or cannot be read: then it is kept as `FILE.unreadable`.

    Raises:
        TailwatchError: there is no such generation beside the file.
    """
    from analytics.gpu.retry_state import dump_state, load_state, rolled_back

    kept = path.with_name(f"{path.name}.{generation}")
    if not kept.exists():
        there = ", ".join(map(str, generations(path))) or "none"
        raise TailwatchError(f"no generation {generation} beside {path}; want one that is kept: {there}")
    file, whole = _in_use(path, priors)
    back = rolled_back(file.model, load_state(kept.read_bytes(), priors))
    if path.exists():
        _replace(path.with_name(f"{path.name}.{file.model.generation if whole else 'unreadable'}"), path.read_bytes())
    _replace(path, dump_state(back, file.digest))
    return read_state(path, priors, 0)


def _in_use(path: Path, priors: "Priors | None") -> tuple[StateFile, bool]:
    """The state in use, and whether it can be read; else one that knows nothing but which generation it was."""
    from analytics.errors import ModelFileError, ModelMismatchError
    from analytics.gpu.retry_model import RetryModel

    try:
        if path.exists():
            return read_state(path, priors, 0), True
    except (ModelFileError, ModelMismatchError):
        pass  # what it knew is lost; which generation it was follows from those that are kept
    return StateFile(path, RetryModel(generation=max(generations(path)) + 1), ""), False


def _replace(path: Path, data: bytes) -> None:
    beside = path.with_name(f".{path.name}.new")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
