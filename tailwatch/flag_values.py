"""What the values of flags may be: from their text to a number, or to an error that says what is wanted.

argparse shows the error with the flag's name and ends with exit code 2.
"""

import argparse
import re
from collections.abc import Callable
from typing import Final

#: What a demo on one machine makes within some minutes.
MOST_MADE_UP_DRIVES: Final = 20_000
#: Four logs a job at most, all of which an agent follows at once.
MOST_MADE_UP_GPU_JOBS: Final = 300


def port(text: str) -> int:
    """A TCP port."""
    number = int(text) if text.isascii() and text.isdigit() else -1
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; want 1 to 65535")
    return number


def server(text: str) -> str:
    """The address of a broker, HOST:PORT."""
    host, _, number = text.rpartition(":")
    if not host or not number.isascii() or not number.isdigit() or not 1 <= int(number) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no broker; want HOST:PORT, for example 127.0.0.1:9092")
    return text


def lifetime_s(text: str) -> int:
    """Seconds of a text such as 90d."""
    found = re.fullmatch(r"([1-9][0-9]{0,8})(s|m|h|d|w)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; want a number and s, m, h, d or w, such as 90d")
    return int(found[1]) * {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}[found[2]]


def run_seconds(text: str) -> float:
    """How long to run."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 1 <= seconds <= 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no run time; want a number of seconds from 1 up")
    return seconds


def made_up_drives(text: str) -> int:
    """How many drives of the demo to make up."""
    if not (text.isascii() and text.isdigit() and int(text) <= MOST_MADE_UP_DRIVES):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of drives; want a whole number from 0 to {MOST_MADE_UP_DRIVES}"
        )
    return int(text)


def row_count(text: str) -> int:
    """How many rows."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 10**12):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows; want a whole number from 1 up")
    return int(text)


def cores_given(text: str) -> float:
    """A budget in cores."""
    try:
        cores = float(text)
    except ValueError:
        cores = -1.0
    if not 0 < cores <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is no budget; want cores, such as 0.2, above 0 and up to 1024")
    return cores


def source_kind(text: str) -> str:
    """A kind of source."""
    from agents.sources.kinds import KINDS  # only where one is named: parsing flags shall load nothing else
    from pipeline.errors import nearest

    if text not in KINDS:
        raise argparse.ArgumentTypeError(f"{text!r} is no kind of source; {nearest(text, list(KINDS))}")
    return text


def horizon_days(text: str) -> int:
    """How many days ahead drives are foretold to fail."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 365):
        raise argparse.ArgumentTypeError(f"{text!r} is no horizon; want days, 1 to 365")
    return int(text)


def horizons(text: str) -> tuple[int, ...]:
    """Several horizons, ascending: 7,30."""
    found = tuple(sorted({horizon_days(part.strip()) for part in text.split(",")}))
    if len(found) > 4:
        raise argparse.ArgumentTypeError(f"{text!r} names {len(found)} horizons; want 4 at most")
    return found


def false_share(text: str) -> float:
    """How many false alarms are accepted, as a share of all."""
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share <= 0.5:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no such share; want a number above 0 and up to 0.5, such as 0.05"
        )
    return share


def count_up_to(most: int, least: int = 1) -> Callable[[str], int]:
    """A whole number from `least` to `most`."""

    def count(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text!r} is no number here; want {least} to {most}")
        return int(text)

    return count
