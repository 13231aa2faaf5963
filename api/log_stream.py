"""A log as the body of a request, read while it still comes: in pieces, each in time, never all of it at once.

A thread that reads the log asks for its next piece, and the loop fetches it then: what is not asked for stays in the
socket, so memory does not grow with the log, and a slow reader slows its sender down.
"""

import threading
from collections.abc import Iterator
from typing import Final

import anyio
from anyio import from_thread
from starlette.requests import ClientDisconnect, Request

from api.errors import ClientGoneError, QuestionTimeoutError, TooSlowError

#: Bytes of a piece, where more are there; what reads logs takes blocks of this size.
PIECE_BYTES: Final = 1 << 20
#: A piece, or the rest of the body, has to come within this time.
PIECE_WITHIN_S: Final = 30.0


class LogStream:
    """The body of one request; `pieces` is for one thread that the loop started, all else for the loop."""

    def __init__(self, request: Request) -> None:
        self._parts = request.stream()
        self._stopped = threading.Event()
        self._more = True

    def pieces(self) -> Iterator[bytes]:
        """The body in pieces of about PIECE_BYTES.

        Raises:
            TooSlowError: a piece did not come in time.
            ClientGoneError, QuestionTimeoutError: nobody waits for the answer any more, or time is up.
        """
        while self._more:
            if self._stopped.is_set():
                raise QuestionTimeoutError("the log was not read in time; nothing of it is kept")
            piece = from_thread.run(self._next)
            if piece:
                yield piece

    async def whole(self, most: int) -> bytes | None:
        """All of it; None where there are more than `most` bytes. Raises as `pieces` does."""
        parts: list[bytes] = []
        held = 0
        while self._more:
            parts.append(await self._next())
            held += len(parts[-1])
            if held > most:
                return None
        return b"".join(parts)

    def stop(self) -> None:
        """Have the thread end with its next piece."""
        self._stopped.set()

    async def _next(self) -> bytes:
        parts: list[bytes] = []
        held = 0
        try:
            with anyio.fail_after(PIECE_WITHIN_S):
                while held < PIECE_BYTES:
                    part = await anext(self._parts, None)
                    if part is None:
                        self._more = False
                        break
                    parts.append(part)
                    held += len(part)
        except TimeoutError:
            raise TooSlowError(
                f"{PIECE_BYTES >> 10} KiB of the log, or its end, did not come within {PIECE_WITHIN_S:g} s; send it "
                "faster, or classify it where it lies with `tailwatch gpu classify`",
                reason="body_too_slow",
                headers={"Connection": "close"},
            ) from None
        except ClientDisconnect as error:
            raise ClientGoneError("the client went away before its log was there") from error
        return b"".join(parts)
