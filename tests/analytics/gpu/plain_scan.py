"""Signatures, lines and matches made by hand, and logs as bytes, for tests of what comes after a scan."""

from collections.abc import Sequence

from analytics.gpu.cleaning import Origin
from analytics.gpu.log_lines import LogLine, Source
from analytics.gpu.matches import Match
from analytics.gpu.scanning import Scan, Scanner
from analytics.gpu.signature_files import shipped_signatures
from analytics.gpu.signatures import Category, Role, Signature

SECOND = 10**9
_CATEGORIES: dict[str, Category] = {
    "semantic_error": "user",
    "import_error": "user",
    "gpu_oom": "ai_engine",
    "core_dump": "ai_engine",
    "illegal_mem_access": "ai_engine",
}


def signature(name: str, reason: str, role: Role = "root", weight: int = 60) -> Signature:
    """A rule whose pattern nobody asks for."""
    return Signature(
        id=name,
        reason=reason,
        category=_CATEGORIES.get(reason, "infrastructure"),
        role=role,
        pattern=name,
        weight=weight,
        retry="same",
        action="look",
        examples=(name,),
    )


def found(
    rule: Signature,
    number: int = 1,
    *,
    rank: int | None = None,
    node: str | None = None,
    at_s: float | None = None,
    file: str = "log",
    source: Source = "stderr",
    text: str = "text",
    **captured: str,
) -> Match:
    """A match on a line of the given place; `at_s` is its time in seconds."""
    time_ns = None if at_s is None else int(at_s * SECOND)
    return Match(rule, LogLine(source, file, number, text, rank, node, time_ns), captured)


def exception(
    name: str, number: int, reason: str = "semantic_error", weight: int = 60, rank: int | None = None
) -> Match:
    """An exception as the rows of exceptions.yaml find it."""
    return found(signature(f"raised-{name}", reason, weight=weight), number, rank=rank, exception=name)


def marker(name: str, number: int, rank: int | None = None) -> Match:
    """A part of a traceback."""
    return found(signature(name, "semantic_error", "advice", 1), number, rank=rank)


_SHIPPED: list[Scanner] = []


def shipped_scanner() -> Scanner:
    """The shipped signatures made ready, once."""
    if not _SHIPPED:
        _SHIPPED.append(Scanner(shipped_signatures()))
    return _SHIPPED[0]


def scanned(lines: Sequence[str], file: str = "log", rank: int | None = None, node: str | None = None) -> Scan:
    """A log of these lines, scanned with the shipped signatures."""
    text = "".join(line + "\n" for line in lines)
    return shipped_scanner().scan([text.encode()], Origin(file, rank=rank, node=node))
