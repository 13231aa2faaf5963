"""A log source that a test stops, starts and kills, with a clock of its own."""

from pathlib import Path

from agents.sources.configs import LogsConfig
from agents.sources.logs import LogsSource

NOW_NS = 1_795_000_000 * 10**9
SCHEMA = {"ts": "int64", "host": "string", "word": "string"}
WITH_FILE = {**SCHEMA, "file": "string"}


class Clock:
    def __init__(self) -> None:
        self.s = 1000.0

    def ns(self) -> int:
        return NOW_NS + int(self.s * 10**9)


class Reader:
    """A source that a test stops and starts; `words` are those it gave so far."""

    def __init__(self, *paths: Path, schema: dict[str, str] = SCHEMA, **changes: object) -> None:
        values: dict[str, object] = {"pattern": "regex", "regex": r"(?s)^(?P<word>.*)$", "stream": "words"}
        self.entry = LogsConfig(paths=tuple(map(str, paths)), **(values | changes))  # type: ignore[arg-type]
        self.schema = schema
        self.clock = Clock()
        self.position: bytes | None = None
        self.words: list[str] = []
        self.files: list[str] = []
        self.source = self._made()

    def _made(self) -> LogsSource:
        return LogsSource(
            self.entry, self.schema, clock_s=lambda: self.clock.s, clock_ns=self.clock.ns, cpu_s=lambda: 0
        )

    def start(self) -> "Reader":
        self.source.open(self.position)
        return self

    def poll(self, pause_s: float = 1.0) -> "Reader":
        """One poll at least, and on until nothing is unread; it looks for files unless the pause is short."""
        self.clock.s += pause_s
        while True:
            for batch in self.source.poll():
                self.words += batch.rows["word"].to_list()
                if "file" in batch.rows.columns:
                    self.files += [Path(path).name for path in batch.rows["file"].to_list()]
            if not self.source.lag_bytes:
                return self

    def restart(self, *, killed: bool = False) -> "Reader":
        """Begin again at the last checkpoint: now, or when it is killed, the one before."""
        self.source.close()
        if not killed:
            self.checkpoint()  # an agent's last one comes when its sources are closed
        self.source = self._made()
        return self.start()

    def checkpoint(self) -> None:
        self.position = self.source.position()

    def count(self, event: str) -> int:
        return self.source.counters()[event]


def append(path: Path, *words: str) -> None:
    with path.open("a") as file:
        file.write("".join(f"{word}\n" for word in words))


def started(path: Path, **changes: object) -> Reader:
    return Reader(path, **{"begin": "beginning", **changes}).start()  # type: ignore[arg-type]
