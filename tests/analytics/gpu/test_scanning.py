"""One pass finds what trying every rule on every line finds, whatever the log is cut into."""

import random
from collections.abc import Iterator, Sequence

import pytest

from analytics.gpu.cleaning import Origin, clean_line, lines_of, told_by
from analytics.gpu.cleaning_blocks import BLOCK_BYTES
from analytics.gpu.cleaning_prefixes import Told
from analytics.gpu.log_lines import LogLine
from analytics.gpu.scanning import AFTER, BEFORE, EXCERPT_LINES, TAIL_LINES, Scan, Scanner
from analytics.gpu.scanning_kept import KEPT_FIRST, KEPT_LAST
from analytics.gpu.signature_files import shipped_signatures, signatures_of
from analytics.gpu.signature_patterns import compiled
from tests.analytics.gpu.made_logs import made_log, shipped_scanner, texts_of_failures

ORIGIN = Origin("log")
WINDOWED = frozenset(one.id for one in shipped_signatures() if one.scope == "window")


@pytest.fixture(scope="module")
def scanner() -> Scanner:
    return shipped_scanner()


def cut(data: bytes, rng: random.Random, most: int) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size = rng.randrange(1, most)
        yield data[at : at + size]
        at += size


def found(scan: Scan) -> list[tuple[int, str, str, dict[str, str]]]:
    return sorted((one.line.number, one.signature.id, one.line.text, dict(one.captured)) for one in scan.matches)


def tried_one_by_one(data: bytes) -> list[tuple[int, str, str, dict[str, str]]]:
    """Every rule of scope `line` on every line, in the plainest way."""
    rules = [one for one in shipped_signatures() if one.scope == "line"]
    ready = [(one, compiled(one.pattern), compiled(one.not_pattern or "$.")) for one in rules]
    told: dict[tuple[int, str], tuple[str, dict[str, str]]] = {}
    for line in lines_of([data], ORIGIN):
        for rule, pattern, never in ready:
            at = pattern.search(line.text)
            if at is None or never.search(line.text) is not None or (rule.sources and line.source not in rule.sources):
                continue
            told.setdefault((line.number, rule.id), (line.text, {k: v or "" for k, v in at.groupdict().items()}))
    return sorted((number, name, *rest) for (number, name), rest in told.items())


@pytest.mark.parametrize("seed", range(3))
def test_one_pass_finds_what_every_rule_on_every_line_finds(scanner: Scanner, seed: int) -> None:
    rng = random.Random(seed)
    data = made_log(rng, 250, texts_of_failures())
    lines_only = [one for one in found(scanner.scan([data], ORIGIN)) if one[1] not in WINDOWED]
    assert lines_only == tried_one_by_one(data)
    assert len(lines_only) > 50


@pytest.mark.parametrize("most", [3, 40, 2_000])
def test_it_does_not_matter_into_what_a_log_is_cut(scanner: Scanner, most: int) -> None:
    rng = random.Random(most)
    data = made_log(rng, 120, texts_of_failures())
    whole, parts = scanner.scan([data], ORIGIN), scanner.scan(cut(data, rng, most), ORIGIN)
    assert parts == whole
    assert whole.bytes == len(data)
    assert whole.lines == data.count(b"\n") + (not data.endswith(b"\n"))


@pytest.mark.parametrize("size", [4_700, 9_001])
def test_it_does_not_matter_where_blocks_end(scanner: Scanner, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = made_log(random.Random(size), 1_500, texts_of_failures())
    whole = scanner.scan([data], ORIGIN)
    monkeypatch.setattr("analytics.gpu.cleaning_blocks.BLOCK_BYTES", size)
    parts = scanner.scan([data], ORIGIN)
    assert parts.matches == whole.matches
    assert parts.excerpts == whole.excerpts
    assert parts == whole
    assert len(whole.matches) > 300


WINDOW = """
signatures:
  - id: split-in-two
    reason: host_hw
    role: root
    scope: window
    pattern: 'board (?P<board>\\w+) reports\\n(?:[^\\n]*\\n){0,2}?status: burnt'
    not_pattern: 'drill'
    examples: ["board b1 reports\\nstatus: burnt"]
"""


def test_lines_of_one_rank_that_follow_each_other_are_matched_together() -> None:
    scanner = Scanner(signatures_of(WINDOW, "window.yaml"))
    data = (
        b"x\n[rank1]: board b7 reports\n[rank0]: board b9 reports\n[rank1]: a\n[rank1]: status: burnt\n[rank0]: well\n"
    )
    for chunks in ([data], [data[:30], data[30:]], [bytes([each]) for each in data]):
        (match,) = scanner.scan(chunks, ORIGIN).matches
        assert (match.line.number, match.line.rank, match.captured) == (2, 1, {"board": "b7"})
        assert match.line.text == "board b7 reports"


def test_a_window_is_ruled_out_by_what_stands_in_its_match() -> None:
    scanner = Scanner(signatures_of(WINDOW, "window.yaml"))
    assert scanner.scan([b"board b7 reports\nthis is a drill\nstatus: burnt\n"], ORIGIN).matches == ()
    assert len(scanner.scan([b"drill\nboard b7 reports\nstatus: burnt"], ORIGIN).matches) == 1


def test_several_lines_in_one_line_of_json_stay_one_line() -> None:
    scanner = Scanner(signatures_of(WINDOW, "window.yaml"))
    data = b'{"log": "a\\nb\\nc\\n"}\nboard b7 reports\n{"log": "x\\nstatus: burnt\\nz"}\n'
    (match,) = scanner.scan([data], ORIGIN).matches
    assert (match.line.number, match.line.text) == (2, "board b7 reports")


@pytest.mark.parametrize("prefix", ["", "E0102 03:04:05.678000 77 api.py:874] ", "[rank0]: "])
def test_the_rank_that_torchrun_names_is_captured(scanner: Scanner, prefix: str) -> None:
    lines = ["Root Cause (first observed failure):", "[0]:", "  host      : gpu-3", "  rank      : 5 (local_rank: 1)"]
    log = "".join(f"{prefix}{line}\n" for line in [*lines, "  exitcode  : -11 (pid: 77)", "  error_file: <N/A>"])
    told = {one.signature.id: one for one in scanner.scan([log.encode()], ORIGIN).matches}
    assert told["elastic-root-cause"].captured == {"peer_rank": "5", "exitcode": "-11"}
    assert told["segfault"].line.number == 5


def test_windows_end_where_the_log_ends() -> None:
    scanner = Scanner(signatures_of(WINDOW, "window.yaml"))
    twice = b"board b7 reports\nstatus: burnt\n" * 3
    scan = scanner.scan([twice], ORIGIN)
    assert [one.line.number for one in scan.matches] == [1, 3, 5]


def test_of_a_text_that_repeats_the_first_and_the_last_are_kept_and_the_others_counted(scanner: Scanner) -> None:
    data = b"".join(b"step %d loss = nan\n" % step for step in range(10_000))
    scan = scanner.scan([data], ORIGIN)
    numbers = [one.line.number for one in scan.matches]
    assert numbers == [*range(1, KEPT_FIRST + 1), *range(10_001 - KEPT_LAST, 10_001)]
    assert scan.dropped == {"loss-nan": 10_000 - KEPT_FIRST - KEPT_LAST}
    assert EXCERPT_LINES * 0.8 <= len(scan.excerpts) <= EXCERPT_LINES + 2 * (BEFORE + AFTER + 1)
    assert (scan.excerpts[0].number, scan.excerpts[-1].number) == (1, 10_000)


@pytest.mark.parametrize("size", [50, 700, 100_000])
def test_lines_around_matches_and_tracebacks_are_kept_once_with_their_numbers(scanner: Scanner, size: int) -> None:
    lines = [b"line %d" % number for number in range(1, 1_001)]
    lines[299] = b"Traceback (most recent call last):"
    lines[319] = b"ZeroDivisionError: division by zero"
    lines[899] = b"CUDA out of memory"
    data = b"\n".join(lines)
    scan = scanner.scan([data[at : at + size] for at in range(0, len(data), size)], ORIGIN)
    wanted = [*range(300 - BEFORE, 320 + AFTER + 1), *range(900 - BEFORE, 900 + AFTER + 1)]
    assert [line.number for line in scan.excerpts] == wanted
    assert scan.excerpts[0].text == f"line {300 - BEFORE}"
    assert [line.number for line in scan.tail] == list(range(1_001 - TAIL_LINES, 1_001))


def test_an_endless_line_is_read_in_pieces_and_still_tells(scanner: Scanner) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"first\n"
        for place in range(60):
            yield b"\xf0\x00{]" * 16_384 + (b"CUDA out of memory" if place == 30 else b"")
        yield b"\nKilled\n"

    scan = scanner.scan(chunks(), ORIGIN)
    assert [(one.signature.id, one.line.number) for one in scan.matches] == [("gpu-oom-torch", 2), ("killed-bare", 3)]
    assert max(len(one.line.text) for one in scan.matches) <= 8_192
    assert scan.lines == 3


def test_a_text_across_two_pieces_of_an_endless_line_is_found(scanner: Scanner) -> None:
    for start in range(BLOCK_BYTES - 30, BLOCK_BYTES + 5, 5):
        scan = scanner.scan([b"x " * (start // 2), b" CUDA out of memory ", b"y" * 300_000], ORIGIN)
        assert [one.signature.id for one in scan.matches] == ["gpu-oom-torch"], start


def test_what_is_no_log_says_nothing(scanner: Scanner) -> None:
    rng = random.Random(5)
    for chunks in ([], [b""], [b"\n"], [rng.randbytes(300_000)], [b"\0" * 100_000], [b"\r" * 100_000]):
        scan = scanner.scan(chunks, ORIGIN)
        assert scan.matches == ()
    assert scanner.scan([], ORIGIN).lines == 0


def test_levels_do_not_matter(scanner: Scanner) -> None:
    scan = scanner.scan([b"DEBUG maybe: NVRM: Xid (PCI:0000:3b:00): 79, pid=1\n"], ORIGIN)
    assert [(one.signature.id, one.captured["xid"]) for one in scan.matches] == [("xid-bus", "79")]


def sources_of(rows: Sequence[str]) -> str:
    return "signatures:\n" + "\n".join(
        f"  - {{id: {row}, sources: [{row}], reason: host_hw, role: root, pattern: burnt, examples: [burnt]}}"
        for row in rows
    )


def test_a_rule_for_the_kernel_is_not_matched_on_what_a_program_wrote() -> None:
    scanner = Scanner(signatures_of(sources_of(["kernel", "stdout", "scheduler"]), "sources.yaml"))
    data = b"[   12.345678] burnt board\nburnt board\nslurmd: burnt board\n2025-01-02T03:04:05Z stdout F burnt board\n"
    found_in = [(one.line.number, one.signature.id) for one in scanner.scan([data], ORIGIN).matches]
    assert found_in == [(1, "kernel"), (3, "scheduler"), (4, "stdout")]


DISKS = """
signatures:
  - id: disk
    reason: storage_io
    role: root
    pattern: 'disk\\d+: I/O \\d+ timeout'
    examples: ["disk7: I/O 4 timeout"]
"""


@pytest.mark.parametrize(
    ("line", "found_there"),
    [
        ("disk7: I/O 4 timeout", True),
        ("the timeout is 30 s", False),
        (r'{"log": "disk7: I/O 4 timeout\n"}', True),
        (r'{"log": "d\u0069sk7: I/O 4 timeout\n"}', True),
        (r'{"log": "disk7: I\/O 4 timeout\n"}', True),
        ('{"log": "the timeout is 30 s"}', False),
        ("größer: disk7: I/O 4 timeout", True),
        ("größer: timeout", False),
        ("d\u200eisk7: I/O 4 timeout", True),
        ("di\x9bsk7: I/O 4 timeout", True),
    ],
)
def test_a_line_is_tried_where_it_may_hold_all_texts_whatever_form_they_have(line: str, found_there: bool) -> None:
    scanner = Scanner(signatures_of(DISKS, "disks.yaml"))
    for encoding in ("utf-8", "latin-1"):
        data = line.encode(encoding, "ignore")
        assert [one.signature.id for one in scanner.scan([data], ORIGIN).matches] == ["disk"] * found_there


def test_lines_without_all_texts_of_a_rule_are_not_cleaned(monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned: list[bytes] = []

    def counting(raw: bytes, origin: Origin) -> Told:
        cleaned.append(raw)
        return told_by(raw, origin)

    monkeypatch.setattr("analytics.gpu.scanning_rules.told_by", counting)
    lines = [b"the timeout is %d s" % place for place in range(50)]
    lines[7:7] = [b"disk7: I/O 4 timeout", b"DISK7: I/O 4 TIMEOUT"]
    Scanner(signatures_of(DISKS, "disks.yaml")).scan([b"\n".join(lines)], ORIGIN)
    assert cleaned == [b"disk7: I/O 4 timeout"]


def test_of_an_endless_progress_bar_only_the_last_pieces_are_cleaned(
    scanner: Scanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned: list[bytes] = []

    def counting(raw: bytes, origin: Origin, number: int) -> LogLine:
        cleaned.append(raw)
        return clean_line(raw, origin, number)

    monkeypatch.setattr("analytics.gpu.cleaning.clean_line", counting)
    scan = scanner.scan([b"".join(b"\r %d of it" % place for place in range(200_000))], ORIGIN)
    assert [line.text for line in scan.tail] == [f" {place} of it" for place in range(199_600, 200_000)]
    assert len(cleaned) == 400
