"""Samples of requests, sent to Tailwatch in batches that may be sent twice and count once.

A service adds a sample and goes on: nothing blocks it. What cannot be sent waits in bounded memory, then is dropped and
counted. Every batch has an id of its own, and the same bytes go out under it until an answer came: a batch whose answer
was lost is known by its id, and is not taken twice. Standard library only.
"""

import gzip
import json
import logging
import math
import threading
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections import deque
from dataclasses import asdict, dataclass
from typing import Final, Literal, TypeAlias

log = logging.getLogger(__name__)

Sent: TypeAlias = Literal["nothing", "sent", "refused", "later"]

#: Answers to bytes that would be refused again.
_HOPELESS: Final = (400, 413, 415, 422)
_LONGEST_PAUSE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class RequestSample:
    """One request as it ran; times in microseconds. NaN and -1: not told.

    Attributes:
        arrival_ns: since 1970 UTC. wait_us: from then to the start of its run; service_us: of that.
        predicted_us: of its time on one thread. cpu_us: of all its threads.
        raised_us: after its start, when it got more threads for the first time.
        degree, degree_final: threads at its start and its end.
        in_system: other requests at its start; active_threads, long_threads: at work then.
        table_version: of the degree table it was run by.
        explored: 1: its degree was drawn by chance.
        weight: requests it stands for, where not all are sent.
    """

    arrival_ns: int
    wait_us: float
    service_us: float
    predicted_us: float = math.nan
    cpu_us: float = math.nan
    raised_us: float = math.nan
    degree: int = -1
    degree_final: int = -1
    in_system: int = -1
    active_threads: int = -1
    long_threads: int = -1
    table_version: int = -1
    explored: int = 0
    weight: int = 1

    def document(self) -> dict[str, float | int]:
        """As JSON takes it: what is not told is left out."""
        return {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in asdict(self).items()
            if not (value == -1 or (isinstance(value, float) and not math.isfinite(value)))
        }


class SampleSender:
    """Takes samples from any thread and sends them from one of its own.

    Attributes:
        accepted, left_out: samples by what the API said of them. dropped: for want of room. refused: in batches that
            the API will never take. retries: of batches.
    """

    def __init__(
        self, api: str, service: str, instance: str, *, most_waiting: int = 100_000, batch: int = 2_000,
        every_s: float = 5.0, timeout_s: float = 10.0, key: str = "",
    ) -> None:  # fmt: skip
        """Args:
        most_waiting: samples in memory, some 200 bytes each, besides the batch that is on its way.
        batch: samples in one. every_s: how long the first of a batch waits at most.
        key: an API key with the scope `ingest`, where keys are wanted.
        """
        where = f"{api.rstrip('/')}/api/v1/services/{urllib.parse.quote(service, safe='')}/requests"
        self.url = f"{where}?{urllib.parse.urlencode({'instance': instance})}"
        self.accepted = self.left_out = self.dropped = self.refused = self.retries = 0
        self._most, self._batch, self._every_s, self._timeout_s, self._key = (
            most_waiting, batch, every_s, timeout_s, key,
        )  # fmt: skip
        self._start, self._sent, self._failures = uuid.uuid4().hex, 0, 0  # ids of two starts never meet
        self._waiting: deque[RequestSample] = deque()
        self._under_way: tuple[str, int, bytes] | None = None
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._stopping = False
        self._thread = threading.Thread(target=self._send, name="request-samples", daemon=True)

    def start(self) -> None:
        """Send from now on."""
        self._thread.start()

    def add(self, sample: RequestSample) -> None:
        """One more; the newest is dropped where there is no room."""
        with self._changed:
            if len(self._waiting) >= self._most:
                self.dropped += 1
                return
            self._waiting.append(sample)
            if len(self._waiting) == self._batch:
                self._changed.notify()

    def stop(self) -> None:
        """Sends what waits, once; what cannot be sent now is counted as dropped."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(2 * self._timeout_s)
        while self.send_once() in ("sent", "refused"):
            pass
        with self._changed:
            self.dropped += len(self._waiting) + (self._under_way[1] if self._under_way else 0)
            self._waiting.clear()
            self._under_way = None

    def send_once(self) -> Sent:
        """One batch, the one before first where its answer did not come; never raises."""
        with self._sending:
            if self._under_way is None and not self._take():
                return "nothing"
            assert self._under_way is not None
            batch, samples, body = self._under_way
            try:
                answer = self._post(batch, body)
            except urllib.error.HTTPError as error:
                error.close()
                if error.code not in _HOPELESS:
                    return self._later(f"answer {error.code}")
                log.warning("samples refused url=%s answer=%d samples=%d", self.url, error.code, samples)
                self.refused += samples
                self._under_way = None
                return "refused"
            except Exception as error:  # noqa: BLE001  # whatever a network can say must not end the sending
                return self._later(f"{type(error).__name__}: {error}")
            self._failures, self._under_way = 0, None
            left_out = _count(answer.get("left_out"))
            self.left_out += left_out
            self.accepted += samples - left_out
            return "sent"

    def _take(self) -> bool:
        with self._changed:
            taken = [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]
        if not taken:
            return False
        content = json.dumps({"requests": [sample.document() for sample in taken]}, separators=(",", ":"))
        self._sent += 1
        self._under_way = (f"{self._start}-{self._sent}", len(taken), gzip.compress(content.encode(), 1))
        return True

    def _post(self, batch: str, body: bytes) -> dict[str, object]:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(f"{self.url}&batch={batch}", data=body, headers=headers, method="POST")
        with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:
            found = json.loads(answer.read(1_000_000))
        return found if isinstance(found, dict) else {}

    def _later(self, why: str) -> Sent:
        if not self._failures:
            log.warning("samples wait url=%s: %s", self.url, why)
        self._failures += 1
        self.retries += 1
        return "later"

    def _send(self) -> None:
        while True:
            with self._changed:
                pause_s = min(self._every_s * 2.0 ** min(self._failures, 10), max(_LONGEST_PAUSE_S, self._every_s))
                if not self._stopping and (self._failures or len(self._waiting) < self._batch):
                    self._changed.wait_for(lambda: self._stopping or self._is_due(), pause_s)
                if self._stopping:
                    return
            while self.send_once() in ("sent", "refused"):
                if len(self._waiting) < self._batch:
                    break

    def _is_due(self) -> bool:
        """A full batch goes at once, unless the API is in trouble."""
        return not self._failures and len(self._waiting) >= self._batch


def _count(left_out: object) -> int:
    """Samples that were left out, told by reason."""
    if not isinstance(left_out, dict):
        return 0
    return sum(many for many in left_out.values() if isinstance(many, int))
