"""A clock and a transport that do what a test says, for the ways out of the spool."""

from wire.errors import TransportError, TransportFullError
from wire.frame import Header, decode_frame


class Clock:
    """Stands still until it is set."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class SlowTransport:
    """Takes frames and acknowledges when the test says so, or all at once if `prompt`."""

    def __init__(self, *, prompt: bool = False) -> None:
        self.taken: list[tuple[int, int, bytes]] = []
        self.durable: list[int] = []
        self.error: TransportError | None = None
        self.room = 10**9
        self._prompt = prompt

    def partitions(self) -> int:
        return 4

    def publish(self, partition: int, token: int, payload: bytes) -> None:
        if self.error is not None:
            raise self.error
        if self.room == 0:
            raise TransportFullError("full")
        self.room -= 1
        self.taken.append((partition, token, payload))
        if self._prompt:
            self.durable.append(token)

    def acknowledged(self, _timeout_s: float) -> list[int]:
        if self.error is not None:
            raise self.error
        durable, self.durable = self.durable, []
        return durable

    def close(self) -> None:
        pass

    def acknowledge_all(self) -> None:
        """Everything taken so far becomes durable."""
        self.durable = [token for _, token, _ in self.taken]

    def headers(self) -> list[Header]:
        return [decode_frame(payload).header for _, _, payload in self.taken]

    def sequences(self) -> list[int]:
        return [header.sequence for header in self.headers()]
