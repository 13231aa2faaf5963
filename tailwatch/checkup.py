"""What `tailwatch doctor` finds: checks that run side by side, each for a limited time, and what they have to say.

A check gets a thread of its own and is left behind when its time is over: neither a server that stands still nor a
dead network drive makes the doctor hang. A check that fails in a way nobody foresaw is a finding like any other.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail", "skip"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, and what to do about it; `skip` means not checked, and says why."""

    check: str
    state: State
    detail: str
    todo: str = ""


Check = Callable[[], list[Finding]]


def findings_of(checks: Mapping[str, Check], within_s: float) -> list[Finding]:
    """What all checks find, in their order, after at most about `within_s`."""
    found: dict[str, list[Finding]] = {}
    threads = {
        name: threading.Thread(target=_run, args=(name, check, found), name=f"check-{name}", daemon=True)
        for name, check in checks.items()
    }
    for thread in threads.values():
        thread.start()
    ended = threading.Event()
    waiter = threading.Thread(target=_wait_for, args=(list(threads.values()), ended), daemon=True)
    waiter.start()
    ended.wait(within_s)
    late = f"no answer within {within_s:g} s"
    todo = "see whether what it names stands still or cannot be reached"
    return [finding for name in checks for finding in found.get(name) or [Finding(name, "fail", late, todo)]]


def _run(name: str, check: Check, found: dict[str, list[Finding]]) -> None:
    try:
        found[name] = check()
    except ModuleNotFoundError as error:
        text = f"not checked: the package {error.name} is not installed here"
        found[name] = [Finding(name, "skip", text, "install tailwatch[all] where this part runs")]
    except Exception as error:  # noqa: BLE001  # whatever it is, the other checks have their say
        text = f"the check itself failed: {type(error).__name__}: {error}"
        found[name] = [Finding(name, "fail", text, "this is a fault of tailwatch; please report it")]


def _wait_for(threads: list[threading.Thread], ended: threading.Event) -> None:
    for thread in threads:
        thread.join()
    ended.set()
