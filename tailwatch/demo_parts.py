"""Where the demo's agent finds the metrics of the other parts: each from when it takes connections.

All parts start at once, and the agent may be there first. A target that nobody listens at yet would be told as down,
and what its page would have held as lost; so the file of targets begins empty, and the agent reads it as it grows.
"""

import socket
import time
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

# One that has not come by now is down, and should be seen to be.
_AWAITED_S: Final = 30.0
_CONNECT_S: Final = 0.2


class PartsFile:
    """The file, in the form of Prometheus' file_sd; names stay the same from run to run, ports may not."""

    def __init__(self, path: Path, places: Mapping[str, str], clock: Callable[[], float] = time.monotonic) -> None:
        """`places` says HOST:PORT by name; the file holds none of them until `look`."""
        self._path = path
        self._awaited = dict(places)
        self._listed: dict[str, str] = {}
        self._clock = clock
        self._until_s = clock() + _AWAITED_S
        self._write()

    def look(self) -> None:
        """List the parts that listen by now, and after half a minute all."""
        if not self._awaited:
            return
        late = self._clock() >= self._until_s
        found = {name: place for name, place in self._awaited.items() if late or _listens(place)}
        if not found:
            return
        self._listed |= found
        self._awaited = {name: place for name, place in self._awaited.items() if name not in found}
        self._write()

    def _write(self) -> None:
        groups = [f'- {{targets: ["{place}"], labels: {{instance: {name}}}}}\n' for name, place in self._listed.items()]
        text = "# Written by every `tailwatch demo`, for the source `tailwatch` of its agent.\n"
        # The agent must never meet half of it.
        beside = self._path.with_suffix(".new")
        beside.write_text(text + ("".join(groups) or "[]\n"), encoding="utf-8")
        beside.replace(self._path)


def _listens(place: str) -> bool:
    parts = urllib.parse.urlsplit(f"//{place}")
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), _CONNECT_S).close()
    except OSError:
        return False
    return True
