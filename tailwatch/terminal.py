"""What is special about a terminal: colours (NO_COLOR respected), a line that is rewritten in place, tables."""

import os
from collections.abc import Sequence
from typing import TextIO

_CODES = {"red": "31", "yellow": "33", "green": "32", "bold": "1", "dim": "2"}


def paint(text: str, style: str, stream: TextIO) -> str:
    """`text` in a colour when `stream` is a terminal and nobody asked for none (https://no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty():
        return text
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m"


class LiveLine:
    """One line that shows the newest state: rewritten in place on a terminal, a line each time elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._in_place = stream.isatty()
        self._open = False

    def show(self, text: str) -> None:
        """Put `text` where the last one stood."""
        if self._in_place:
            width = os.get_terminal_size(self._stream.fileno()).columns
            self._stream.write("\r\x1b[K" + (text[: width - 1] if width > 1 else text))
            self._open = True
        else:
            self._stream.write(text + "\n")
        self._stream.flush()

    def note(self, text: str) -> None:
        """A line that stays, above the live one."""
        self.close()
        self._stream.write(text + "\n")
        self._stream.flush()

    def close(self) -> None:
        """End the live line so that what follows starts on a fresh one."""
        if self._open:
            self._stream.write("\n")
            self._open = False


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """Columns padded to their widest cell, two spaces between them; `right` marks right-aligned ones.

    Cells come from files, firmware and other hosts: what would steer the terminal is shown as an escape.
    """
    rows = [[harmless(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(headers, *rows, strict=True)]
    lines = []
    for cells in (headers, *rows):
        padded = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True)]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def harmless(text: str) -> str:
    """The same on one line of printable signs; others stand there as escapes."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
