"""Diagnoses and their accuracy in words and tables."""

from collections.abc import Sequence
from datetime import UTC, datetime

from analytics.gpu.accuracy import Accuracy, Point
from analytics.gpu.diagnosis import Diagnosis, Evidence
from analytics.gpu.taxonomy import taxonomy
from tailwatch.terminal import table

_CATEGORIES = {"infrastructure": "infrastructure", "ai_engine": "AI engine", "user": "user"}
_RETRY = {
    "never": "no: it would fail again",
    "same": "yes, as it was",
    "other_node": "yes, on another node",
    "more_mem": "yes, with more memory",
    "backoff": "yes, after a while",
}
#: Of a line's text; more does not fit a terminal and says no more.
_LONGEST = 160
#: Coverages at which the curve of risk is shown.
_COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def as_text(found: Diagnosis) -> str:
    """A diagnosis for a terminal."""
    lines = [_verdict(found)]
    if found.status == "answered":
        lines.append(f"retry: {_RETRY[found.retry or 'never']}")
        lines.append(f"what to do: {found.action}")
    where = [f"rank {found.rank}" if found.rank is not None else "", f"node {found.node}" if found.node else ""]
    if any(where):
        lines.append("where: " + ", ".join(part for part in where if part))
    if found.silent_ranks:
        lines.append("ranks that wrote nothing before the timeout: " + _ranges(found.silent_ranks))
    if found.evidence:
        lines += ["", "evidence:", *(_line(one) for one in found.evidence)]
    if found.cascades:
        lines += ["", "what else was found:", *(_line(one) for one in found.cascades)]
    if found.template:
        lines += ["", "the last lines, masked:", *(f"  {line[:_LONGEST]}" for line in found.template.splitlines())]
    if found.notes:
        lines += ["", *(f"note: {note}" for note in found.notes)]
    return "\n".join([*lines, "", f"read: {found.lines:,} lines, {found.bytes:,} bytes"])


def accuracy_text(figures: Accuracy, curve: Sequence[Point], others: tuple[Accuracy, Accuracy] | None) -> str:
    """Figures of labelled logs, a table by reason, what was taken for what, and what abstaining buys.

    Args:
        others: figures with each log's source held out, and with its rules, too; None: too few logs for that.
    """
    lines = [f"{figures.logs} labelled logs", _shares(figures)]
    if others is None:
        lines.append("too few logs or sources to hold each source out")
    else:
        lines += ["", "confidence without the log's source:", _shares(others[0])]
        lines += ["", "and without texts of rules that no other source shows, but documented ones:", _shares(others[1])]
    rows = [[one.reason, str(one.logs), str(one.found), str(one.false), f"{one.f1:.2f}"] for one in figures.by_reason]
    headers = ("reason", "logs", "found", "falsely given", "F1")
    lines += ["", table(headers, rows, (False, True, True, True, True))]
    if figures.confusion:
        mistaken = [[label, guess, str(logs)] for label, guess, logs in figures.confusion]
        lines += ["", table(("label", "taken for", "logs"), mistaken, (False, False, True))]
    points = [(wanted, [point for point in curve if point.coverage >= wanted - 1e-9]) for wanted in _COVERAGES]
    risk = [[f"{wanted:.0%}", f"{at[0].threshold:.3f}", f"{at[0].accuracy:.1%}"] for wanted, at in points if at]
    return "\n".join([*lines, "", table(("answering", "from confidence", "right"), risk, (True, True, True))])


def _shares(figures: Accuracy) -> str:
    right = (
        f"reason right: {figures.reason:.1%}, macro-F1 {figures.macro_f1:.3f}; category right: {figures.category:.1%}"
    )
    if figures.answered is None or figures.answered_category is None:
        return f"{right}\nanswered: none"
    return (
        f"{right}\nanswered: {figures.coverage:.1%}, of these right: {figures.answered:.1%} by reason, "
        f"{figures.answered_category:.1%} by category"
    )


def _verdict(found: Diagnosis) -> str:
    if found.status == "no_failure":
        return "no failure found"
    guess = found.guess
    if guess is None:
        return "unknown: something failed, and no rule knows what"
    title = taxonomy()[guess].title if guess in taxonomy() else guess
    if found.status == "abstained":
        return f"unknown: perhaps {guess} ({title}), confidence {found.confidence:.0%} is too low for an answer"
    return f"{guess}: {title} ({_CATEGORIES[found.category or 'user']}, confidence {found.confidence:.0%})"


def _line(one: Evidence) -> str:
    said = [f"{one.file}:{one.number}", "" if one.rank is None else f"rank {one.rank}", one.node or ""]
    if one.time_ns is not None:
        said.append(datetime.fromtimestamp(one.time_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"))
    text = one.text.replace("\n", " | ")
    return f"  {', '.join(part for part in said if part)} [{one.reason}, {one.signature}]\n    {text[:_LONGEST]}"


def _ranges(ranks: Sequence[int]) -> str:
    """Numbers in order as `0-3, 7`."""
    runs: list[list[int]] = []
    for rank in ranks:
        if runs and rank == runs[-1][1] + 1:
            runs[-1][1] = rank
        else:
            runs.append([rank, rank])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
