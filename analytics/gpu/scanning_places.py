"""Where lines begin and end in a block of bytes, around a place; nothing is split that is not asked for."""

from analytics.gpu.cleaning import LONGEST_LINE

#: (number, bytes) of a line without its end.
Raw = tuple[int, bytes]


def piece_around(data: bytes, at: int, first: int) -> tuple[int, int]:
    """[start, end) of what lies between line ends or carriage returns around a place; cut where that is too long.

    Args:
        first: nothing before this is looked at.
    """
    start = max(data.rfind(b"\n", first, at) + 1, data.rfind(b"\r", first, at) + 1, first)
    line_end = data.find(b"\n", at)
    line_end = len(data) if line_end < 0 else line_end
    piece_end = data.find(b"\r", at, line_end)
    end = line_end if piece_end < 0 else piece_end
    if end - start > LONGEST_LINE:
        start, end = max(start, at - LONGEST_LINE // 2), min(end, at + LONGEST_LINE // 2)
    return start, end


def lines_before(data: bytes, at: int, number: int, count: int) -> list[Raw]:
    """Up to `count` lines that end before the line at a place, in order; `number` is that line's."""
    found: list[Raw] = []
    end = data.rfind(b"\n", 0, at)
    while end >= 0 and len(found) < count:
        start = data.rfind(b"\n", 0, end) + 1
        number -= 1
        found.append((number, shown(data[start:end])))
        end = start - 1
    return found[::-1]


def lines_after(data: bytes, at: int, number: int, count: int) -> list[Raw]:
    """Up to `count` lines that begin after the line at a place, in order; `number` is that line's."""
    found: list[Raw] = []
    start = data.find(b"\n", at) + 1
    while 0 < start < len(data) and len(found) < count:
        end = data.find(b"\n", start)
        number += 1
        found.append((number, shown(data[start : end if end >= 0 else len(data)])))
        start = end + 1
    return found


def first_lines(data: bytes, number: int, count: int) -> list[Raw]:
    """Up to `count` lines from the start of a block whose first line has that number."""
    end = data.find(b"\n")
    first = (number, shown(data[: end if end >= 0 else len(data)]))
    return [first, *lines_after(data, 0, number, count - 1)] if data else []


def start_of_last(data: bytes, count: int) -> int:
    """Where the last `count` lines begin."""
    at = len(data) - data.endswith(b"\n")
    for _ in range(count):
        at = data.rfind(b"\n", 0, at)
        if at < 0:
            return 0
    return at + 1


def shown(raw: bytes) -> bytes:
    """What a terminal shows of a line at last: the piece behind the last carriage return, cut to a bounded length."""
    raw = raw.rstrip(b"\r")
    return raw[raw.rfind(b"\r") + 1 :][:LONGEST_LINE]
