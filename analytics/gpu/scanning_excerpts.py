"""Lines around what was found: taken as bytes while a log goes by, to be cleaned at its end, in bounded number."""

from collections import deque
from collections.abc import Iterator
from typing import Final

from analytics.gpu.cleaning_blocks import Block
from analytics.gpu.scanning_places import start_of_last

#: Bytes that are taken at once: long lines must not fill the room of all others.
_LARGEST_BYTES: Final = 64 << 10
_BYTES_OF_A_LINE: Final = 256  # so many bytes take as much room as a line


class Excerpts:
    """Collects lines from `before` before to `after` behind places, each once, in the log's order.

    The first ones and the last ones are kept, `most_lines` in all.
    """

    def __init__(self, before: int, after: int, most_lines: int) -> None:
        self._before, self._after = before, after
        self._room = most_lines // 2
        self._first: list[Block] = []
        self._first_taken = self._last_taken = 0
        self._last: deque[Block] = deque()
        self._block = self._previous = Block(b"", 1)
        self._free_from = 0  # nothing of the block before, before this place, is taken any more
        self._owed = 0  # lines that the next block has to give
        self._taken_to = 0  # nothing of the block before this place is taken any more
        self._numbered = (0, 1)  # a place in the block and the number of its line

    def begin(self, block: Block) -> None:
        """The next block; first it gives what places in the block before still want."""
        self._previous, self._free_from = self._block, self._taken_to
        self._block, self._taken_to, self._numbered = block, block.continued, (0, block.first_line)
        if self._owed:
            self._take(self._taken_to, self._forward(self._taken_to, self._owed))

    def around(self, start: int, end: int) -> None:
        """The lines around [start, end) of the block; places come in ascending order."""
        data = self._block.data
        first = data.rfind(b"\n", 0, start) + 1
        for done in range(self._before):
            if first == 0:
                self._take_before_block(self._before - done)
                break
            first = data.rfind(b"\n", 0, first - 1) + 1
        self._take(max(first, self._taken_to), self._forward(end, self._after + 1))

    def blocks(self) -> Iterator[Block]:
        """What was taken; where the middle was dropped, nothing stands for it."""
        yield from self._first
        yield from self._last

    def _take_before_block(self, lines: int) -> None:
        data = self._previous.data
        if self._block.continued or self._taken_to or not data.endswith(b"\n"):
            return
        first = max(start_of_last(data, lines), self._free_from)
        if first < len(data):
            self._keep(Block(data[first:], self._previous.first_line + data.count(b"\n", 0, first)))
        self._free_from = len(data)

    def _forward(self, at: int, lines: int) -> int:
        """Behind the line feed that is so many further; what the block has not is owed by the next."""
        data = self._block.data
        self._owed = 0
        for done in range(lines):
            found = data.find(b"\n", at)
            if found < 0:
                self._owed = lines - done
                return len(data)
            at = found + 1
        return at

    def _take(self, first: int, end: int) -> None:
        if end <= first:
            return
        self._taken_to = end
        at, number = self._numbered
        number += self._block.data.count(b"\n", at, first)
        self._numbered = (first, number)
        self._keep(Block(self._block.data[first:end], number))

    def _keep(self, piece: Block) -> None:
        piece = Block(piece.data[:_LARGEST_BYTES], piece.first_line)
        if self._first_taken < self._room:
            self._first.append(piece)
            self._first_taken += _room_of(piece)
            return
        self._last.append(piece)
        self._last_taken += _room_of(piece)
        while self._last_taken > self._room and len(self._last) > 1:
            self._last_taken -= _room_of(self._last.popleft())


def _room_of(piece: Block) -> int:
    return max(piece.data.count(b"\n"), 1) + len(piece.data) // _BYTES_OF_A_LINE
