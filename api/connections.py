"""What one connection may cost before a request is complete: bytes of a head that never ends, and time.

uvicorn's parser would hold an endless header, and wait for ever for its end, or for the rest of a body that nobody
reads. Everything about complete requests is in api/size_limits.py and api/auth.py.
"""

from asyncio import TimerHandle
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.size_limits import headers_too_large

HEAD_WITHIN_S = 10.0
#: How long the rest of a body that was refused is thrown away, before the connection is closed instead.
REST_WITHIN_S = 10.0


def guarded(max_head_bytes: int, refused: Callable[[str], None]) -> type[HttpToolsProtocol]:
    """uvicorn's protocol with limits; `refused` is told the reason of each connection that is ended."""

    class Guarded(_GuardedProtocol):
        _max_head_bytes = max_head_bytes
        _refused = staticmethod(refused)

    return Guarded


class _GuardedProtocol(HttpToolsProtocol):
    _max_head_bytes: int
    _refused: Callable[[str], None]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._deadline: TimerHandle | None = None
        self._head_open = False
        self._head_bytes = 0  # of pieces that were nothing but head
        self._message_open = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._allow(HEAD_WITHIN_S, "head_too_slow")

    def connection_lost(self, exc: Exception | None) -> None:
        self._take_time_off()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_open = self._head_open
        super().data_received(data)
        if self._deadline is None and self._waits_for_a_head():
            self._allow(HEAD_WITHIN_S, "head_too_slow")
        if not (was_open and self._head_open):
            self._head_bytes = 0
            return
        self._head_bytes += len(data)
        if self._head_bytes > self._max_head_bytes:
            self._refused("headers_too_large")
            self._answer_and_close()

    def on_message_begin(self) -> None:
        self._head_open = self._message_open = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_open = False
        self._take_time_off()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._message_open = False
        self._take_time_off()
        super().on_message_complete()
        if self._idle():  # answered before its body had come; uvicorn has no timer left
            self._allow(HEAD_WITHIN_S, "head_too_slow")

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._message_open and not self._head_open:
            self._allow(REST_WITHIN_S, "body_too_slow")

    def _waits_for_a_head(self) -> bool:
        """Some of it has come, or something that is no part of any message."""
        return self._head_open or (not self._message_open and self._idle())

    def _idle(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None until the first request
        return cycle is None or cycle.response_complete

    def _allow(self, seconds: float, reason: str) -> None:
        self._take_time_off()
        self._deadline = self.loop.call_later(seconds, self._too_late, reason)

    def _take_time_off(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self, reason: str) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            if self._head_open or reason != "head_too_slow":
                self._refused(reason)
            self.transport.close()

    def _answer_and_close(self) -> None:
        """No request, so no app: the bare answer, as uvicorn gives one to what is no HTTP."""
        text = headers_too_large(self._max_head_bytes).detail.encode()
        head = (
            "HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + text)
        self.transport.close()
