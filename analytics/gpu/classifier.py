"""Logs of one job to one diagnosis: the root, how sure it is, what confirms it and what followed.

Scans of all its logs (scanning.py) and what is known of it besides (node_events.py) go in. Events of other jobs and
times are left out, clocks put right, roots outside the window of a collective's timeout set aside; then the root is
chosen (roots.py), and given as the answer where that is sure enough (confidence.py). File names are never an input.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from analytics.gpu.classifier_survival import denied, ended_well, quoted_code, quoted_data, survived
from analytics.gpu.cleaning import Origin
from analytics.gpu.confidence import Confidence, Parameters, confidence
from analytics.gpu.diagnosis import Diagnosis, Evidence, Status
from analytics.gpu.log_lines import LogLine
from analytics.gpu.matches import Match
from analytics.gpu.node_events import JobFacts, join
from analytics.gpu.ranks import TIMEOUT_REASON, Window, clock_offsets, common_times, silent_ranks, timeout_window
from analytics.gpu.ranks_activity import Activity
from analytics.gpu.roots import Choice, choose, tier_of
from analytics.gpu.scanning import Scan, Scanner
from analytics.gpu.shared_nodes import share
from analytics.gpu.templates import tail_template
from analytics.gpu.tracebacks import is_marker

#: Lines that are shown for and beside an answer; further ones say nothing new.
MOST_EVIDENCE = 12
MOST_CASCADES = 20
#: The row for what torchrun says of the first failure, with the group `peer_rank`.
LAUNCHERS_SUMMARY = "elastic-root-cause"
#: Where no signature stands, words that still say that a job failed, in its last lines.
LAST_LINES = 60
_FAILED = re.compile(
    r"^\W*(?:error|fatal|panic)\b\s*[:\]]|exit(?:ed)?(?: with)?(?: exit)?(?: code| status)[ :=]+-?[1-9]"
    r"|core dumped|\bKilled$|Traceback \(most recent call last\)|returned non-zero",
    re.IGNORECASE,
)


def diagnose_logs(
    logs: Iterable[tuple[Origin, Iterable[bytes]]],
    scanner: Scanner,
    facts: JobFacts | None = None,
    parameters: Parameters | None = None,
) -> Diagnosis:
    """Read a job's logs, each in chunks of bytes, and say why it died. Memory does not grow with their size."""
    return diagnose([scanner.scan(chunks, origin) for origin, chunks in logs], facts, parameters)


def diagnose(scans: Sequence[Scan], facts: JobFacts | None = None, parameters: Parameters | None = None) -> Diagnosis:
    """Say why a job died, from scans of its logs.

    Args:
        facts: None: nothing is known besides.
        parameters: of confidence; None: those shipped.
    """
    known = JobFacts() if facts is None else facts
    sight = Sight(scans, known)
    sure = confidence(sight.choice, parameters)
    status = _status(sight, sure, known)
    root = sight.choice.root
    answered = status == "answered" and root is not None
    signature = None if root is None else root.match.signature
    return Diagnosis(
        status=status,
        reason=signature.reason if answered and signature else None,
        category=signature.category if answered and signature else None,
        guess=None if signature is None or status == "no_failure" else signature.reason,
        confidence=0.0 if status == "no_failure" else sure.probability,
        retry=signature.retry if answered and signature else None,
        action=signature.action if answered and signature else None,
        rank=None if status == "no_failure" else sight.rank(),
        node=None if root is None or status == "no_failure" else root.match.line.node,
        evidence=() if root is None or status == "no_failure" else sight.evidence(),
        cascades=() if status == "no_failure" else tuple(_shown(one) for one in sight.choice.following[:MOST_CASCADES]),
        silent_ranks=() if status == "no_failure" else sight.silent,
        template=tail_template([line.text for scan in scans for line in scan.tail]) if status == "abstained" else None,
        lines=sum(scan.lines for scan in scans),
        bytes=sum(scan.bytes for scan in scans),
        notes=sight.notes,
    )


class Sight:
    """What is seen in all of a job's scans together.

    Attributes:
        matches: that count for the job, in the order read.
        choice: among those that may have caused what the others wait for.
        silent: ranks, see Diagnosis.
        survived, ended_well: what looks like the root did not end the job.
        of_shared: the root is of a node's kernel, and may be of another job that ran there.
        others_cascades: there are logs of the job itself, and none says what failed; a node's kernel tells what follows
            from a failure, which may be another job's.
        notes: in words.
    """

    def __init__(self, scans: Sequence[Scan], facts: JobFacts) -> None:
        code = quoted_code(scans)
        told = [
            match
            for scan in scans
            for match in scan.matches
            if match.signature.role == "advice" or not (denied(match) or quoted_data(match))
        ]
        joined = join([match for match in told if (match.line.file, match.line.number) not in code], facts)
        own = (line.text for scan in scans for line in (*scan.excerpts, *scan.tail) if line.source != "kernel")
        sharing = share(joined.matches, facts, own)
        self.matches = sharing.matches
        self.scans = scans
        notes = [f"{scan.file} is {scan.no_log}" for scan in scans if scan.no_log][:MOST_EVIDENCE]
        if not any(scan.bytes for scan in scans):
            notes.append("the logs are empty: they tell nothing of the job")
        notes += (*joined.notes, *sharing.notes)
        offsets = clock_offsets(self.matches)
        notes += [
            f"the clock of node {node} is {ns / 1e9:+.0f} s off the others'" for node, ns in sorted(offsets.items())
        ]
        times = common_times(self.matches, offsets)
        window = timeout_window(self.matches, times)
        inside = list(range(len(self.matches)))
        if window is not None:
            inside = [place for place in inside if _may_be_cause(self.matches[place], times.get(place), window)]
            if len(inside) < len(self.matches):
                count = len(self.matches) - len(inside)
                notes.append(f"{count} other findings lie outside the window before the collective's timeout")
        outlived = survived(self.matches, scans)
        final = [place for place in inside if id(self.matches[place]) not in outlived]
        self.choice = self._chosen([place for place in final if id(self.matches[place]) not in sharing.unsure], times)
        # What may be another job's is asked where the job's own lines know no root.
        if sharing.unsure and (self.choice.root is None or self.choice.root.match.signature.role != "root"):
            self.choice = self._chosen(final, times)
        # Where nothing else is found, what was survived is still the best guess, and no more than that.
        self.survived = self.choice.root is None and len(final) < len(inside)
        if self.survived:
            self.choice = self._chosen(inside, times)
        self.others_cascades = _of_others(self.choice, scans)
        self.silent = self._silent(window, offsets)
        root = self.choice.root
        self.of_shared = root is not None and id(root.match) in sharing.unsure
        notes += sharing.said(None if root is None else root.match)
        self.ended_well = root is not None and ended_well(self.matches, root.match)
        if self.ended_well:
            notes.append("after its last sign of failure the log says that the job ended well")
        elif outlived:
            notes.append(f"the job went on after {len(outlived)} findings, which are no cause for that")
        notes += self._doubts(facts)
        if self.choice.tracebacks.cut_off:
            line = self.choice.tracebacks.cut_off[-1].line
            notes.append(
                f"a traceback that begins in line {line.number} of {line.file} is cut off before its exception"
            )
        dropped = sum(sum(scan.dropped.values()) for scan in scans)
        if dropped:
            notes.append(f"{dropped} further lines match the same signatures and are not shown")
        self.notes = tuple(notes)

    def _doubts(self, facts: JobFacts) -> list[str]:
        """In words, what is found beside what is known of the job."""
        if self.others_cascades and facts.failed is None:
            return ["what a node's kernel wrote follows from a failure, which may be another job's"]
        if self.choice.root is not None and facts.failed is False:
            reason = self.choice.root.match.signature.reason
            return [f"the scheduler or the exit code says that the job did not fail; its logs tell of {reason}"]
        return []

    def _chosen(self, places: Sequence[int], times: Mapping[int, int]) -> Choice:
        known = {at: times[place] for at, place in enumerate(places) if place in times}
        return choose([self.matches[place] for place in places], known)

    def rank(self) -> int | None:
        """Of the root's line; where that tells none, the rank that failed first as the launcher sums up."""
        root = self.choice.root
        if root is None or root.match.line.rank is not None:
            return None if root is None else root.match.line.rank
        told = [match.captured["peer_rank"] for match in self.matches if match.signature.id == LAUNCHERS_SUMMARY]
        return int(told[0]) if told and told[0].isdecimal() else None

    def evidence(self) -> tuple[Evidence, ...]:
        """The root, then what confirms it."""
        root = self.choice.root
        return (
            ()
            if root is None
            else tuple(_shown(one) for one in (root.match, *self.choice.confirming[: MOST_EVIDENCE - 1]))
        )

    def _silent(self, window: Window | None, offsets: Mapping[str, int]) -> tuple[int, ...]:
        root = self.choice.root
        if window is None or root is None or root.reason != TIMEOUT_REASON:
            return ()
        activity = Activity()
        activity.see_all(_lines_known(self.scans))
        reporting = [match.line.rank for match in self.matches if match.signature.reason == TIMEOUT_REASON]
        told = [match.captured for match in self.matches]
        return silent_ranks(window, activity, told, reporting, offsets)


def _may_be_cause(match: Match, time_ns: int | None, window: Window) -> bool:
    """Whether a match may have caused the timeout; matches of the timeout itself stay."""
    if match.signature.reason == TIMEOUT_REASON or match.signature.role in ("advice", "confirm") or is_marker(match):
        return True
    if tier_of(match) == 1:
        return True
    line, timeout = match.line, window.timeout.line
    # In one stream the order of lines tells, also where they bear no time: what follows is the teardown.
    one_stream = (line.file, line.rank, line.source) == (timeout.file, timeout.rank, timeout.source)
    return not (one_stream and line.number > timeout.number) and window.holds(time_ns)


def _lines_known(scans: Sequence[Scan]) -> list[LogLine]:
    """Each line that a scan kept, once, in the order of its log."""
    lines: list[LogLine] = []
    for scan in scans:
        kept = {(line.number, line.text): line for line in (*scan.excerpts, *scan.tail)}
        kept |= {(match.line.number, match.line.text): match.line for match in scan.matches}
        lines += [kept[key] for key in sorted(kept)]
    return lines


def _status(sight: Sight, sure: Confidence, facts: JobFacts) -> Status:
    root = sight.choice.root
    if facts.failed is False or (facts.failed is None and sight.ended_well):
        return "no_failure"
    if facts.failed is None and (sight.others_cascades or sight.of_shared):
        return "abstained" if sight.choice.tracebacks.cut_off or _looks_failed(sight.scans) else "no_failure"
    if root is not None and root.match.signature.role != "confirm" and not sight.survived:
        return "answered" if sure.enough else "abstained"
    if sight.survived and facts.failed is None and not sight.choice.tracebacks.cut_off:
        return "no_failure"
    failed = facts.failed or sight.choice.tracebacks.cut_off or _looks_failed(sight.scans)
    return "abstained" if failed else "no_failure"


def _of_others(choice: Choice, scans: Sequence[Scan]) -> bool:
    if choice.root is None:
        return False
    told = (choice.root.match, *(one.match for one in choice.rivals), *choice.confirming)
    if not all(one.line.source == "kernel" and one.signature.role in ("cascade", "confirm") for one in told):
        return False
    theirs = {id(one) for one in told}
    own = [scan for scan in scans if not any(id(match) in theirs for match in scan.matches)]
    return any(line.source != "kernel" for scan in own for line in scan.tail)


def _looks_failed(scans: Sequence[Scan]) -> bool:
    return any(_FAILED.search(line.text) for scan in scans for line in scan.tail[-LAST_LINES:])


def _shown(match: Match) -> Evidence:
    line = match.line
    return Evidence(
        signature=match.signature.id,
        reason=match.signature.reason,
        role=match.signature.role,
        file=line.file,
        number=line.number,
        text=line.text,
        rank=line.rank,
        node=line.node,
        time_ns=line.time_ns,
    )
