"""Rotated more than once while nobody read: what is left is read, each line once and in order; what is gone counts."""

import gzip
import os
from pathlib import Path

import pytest

from agents.sources.logs_rotated import generations, order_of
from tests.agents.sources.logs_reader import Reader, append, started

SET = 1_795_000_000 * 10**9
HEADER = [f"a line to tell the file by {number}, {'=' * 40}" for number in range(5)]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "a.log"


def rotate(log: Path, *, pack: bool = False, keep: int = 9) -> None:
    """As logrotate does: numbers count up, the oldest goes."""
    for number in range(keep, 0, -1):
        for suffix in ("", ".gz"):
            older = log.with_name(f"{log.name}.{number}{suffix}")
            if older.exists() and number == keep:
                older.unlink()
            elif older.exists():
                older.rename(log.with_name(f"{log.name}.{number + 1}{suffix}"))
    if not pack:
        log.rename(f"{log}.1")
        return
    status = log.stat()
    with gzip.open(f"{log}.1.gz", "wb") as packed:
        packed.write(log.read_bytes())
    os.utime(f"{log}.1.gz", ns=(status.st_mtime_ns, status.st_mtime_ns))
    log.unlink()


def read_so_far(log: Path, **changes: object) -> Reader:
    """A reader that was stopped in the middle of a log that had been rotated before it ever came."""
    append(log, "older than the agent")
    rotate(log)
    append(log, *HEADER)
    reader = started(log, **changes).poll()
    assert reader.words == HEADER
    reader.checkpoint()
    reader.source.close()
    return reader


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("away", [1, 2, 3, 5])
def test_all_generations_that_were_never_seen_are_read_in_order(log: Path, away: int, pack: bool) -> None:
    reader = read_so_far(log)
    written = list(HEADER)
    for turn in range(away):
        written += [f"the end of {turn}"]
        append(log, written[-1])
        rotate(log, pack=pack)
        written += [f"the beginning of {turn + 1}", "the same line in all of them"]
        append(log, *written[-2:])
    reader.restart(killed=True).poll().poll()
    assert reader.words == written
    assert reader.count("rotated") == away
    assert reader.count("gone") == 0
    # And never again, whether what was read is checkpointed before a kill, after the files ended or in between.
    reader.restart().poll()
    reader.poll(120).poll().restart().poll()
    rotate(log, pack=pack)
    append(log, "goes on")
    reader.poll().restart().poll()
    assert reader.words == [*written, "goes on"]


def test_two_rotations_between_two_looks_are_one_after_the_other(log: Path) -> None:
    reader = read_so_far(log)
    reader.restart(killed=True).poll()
    for turn in (1, 2, 3):
        append(log, f"ends {turn}")
        rotate(log)
        append(log, f"begins {turn}")
    reader.poll().poll()
    assert reader.words == [*HEADER, "ends 1", "begins 1", "ends 2", "begins 2", "ends 3", "begins 3"]


def test_a_kill_in_the_middle_of_a_packed_file_goes_on_there(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.sources.logs.BLOCK_BYTES", 4096)
    reader = read_so_far(log, max_line_bytes=1024)
    more = [f"line {number} of a file that is packed" for number in range(5000)]
    append(log, *more)
    rotate(log, pack=True)
    append(log, *(following := [f"line {number} of another one" for number in range(3000)]))
    rotate(log, pack=True)
    append(log, "the last")
    reader.source = reader._made()
    reader.start()
    kept = list(reader.words)
    for turn in range(400):
        reader.clock.s += 1
        reader.words += [word for batch in reader.source.poll() for word in batch.rows["word"].to_list()]
        if turn % 7 == 3:
            reader.checkpoint()
            kept = list(reader.words)
        if turn % 11 == 5:
            reader.words = list(kept)
            reader.restart(killed=True)
    assert reader.words == [*HEADER, *more, *following, "the last"]


def test_what_was_rotated_out_counts_as_lost_and_what_came_after_it_is_read(log: Path) -> None:
    reader = read_so_far(log)
    append(log, "nobody will read this")
    changed_ns = log.stat().st_mtime_ns
    rotate(log)
    for turn in (1, 2):
        append(log, f"begins {turn}")
        rotate(log, keep=2)
    append(log, "begins 3")
    os.utime(log)
    reader.source = reader._made()
    reader.start()
    reader.clock.s += 1
    batches = reader.source.poll()
    lost = [lost for batch in batches for lost in batch.lost]
    assert [(each.count, each.reason) for each in lost] == [(1, "log_gone")]
    assert abs(lost[0].ts_ns - changed_ns) < 10**10
    reader.words += [word for batch in batches for word in batch.rows["word"].to_list()]
    reader.poll()
    assert reader.words == [*HEADER, "begins 1", "begins 2", "begins 3"]
    assert reader.count("gone") == 1
    # Once, not with every restart.
    reader.restart()
    assert [lost for batch in reader.source.poll() for lost in batch.lost] == []


def test_a_packed_file_that_is_cut_off_counts_as_lost(log: Path) -> None:
    reader = read_so_far(log)
    rotate(log)
    append(log, *(f"{number} {os.urandom(20).hex()}" for number in range(2000)))
    rotate(log, pack=True)
    append(log, "the last")
    packed = log.with_name("a.log.1.gz")
    status = packed.stat()
    packed.write_bytes(packed.read_bytes()[: status.st_size // 2])
    os.utime(packed, ns=(status.st_mtime_ns, status.st_mtime_ns))
    reader.restart(killed=True).poll()
    assert 5 < len(reader.words) < 2006
    reader.clock.s += 100
    lost = [lost for _ in range(3) for batch in reader.source.poll() for lost in batch.lost]
    reader.clock.s += 100
    lost += [lost for batch in reader.source.poll() for lost in batch.lost]
    assert [(each.count, each.reason) for each in lost] == [(1, "log_gone")]
    reader.poll()


def test_copies_cut_more_than_once_are_read_too(log: Path) -> None:
    reader = read_so_far(log)
    log.with_name("a.log.1").unlink()
    written = list(HEADER)
    for turn in (1, 2, 3):
        written += [f"ends {turn}"]
        append(log, written[-1])
        for number in (2, 1):
            if (older := log.with_name(f"a.log.{number}")).exists():
                older.rename(log.with_name(f"a.log.{number + 1}"))
        log.with_name("a.log.1").write_bytes(log.read_bytes())
        log.write_text("")
        written += [f"begins {turn} with a line that is long enough to tell the file from each of the others"]
        append(log, written[-1])
    reader.restart(killed=True).poll().poll()
    assert reader.words == written


def test_what_is_beside_a_log_and_no_generation_of_it_is_left_alone(log: Path) -> None:
    reader = read_so_far(log)
    rotate(log)
    append(log, "new")
    for name in ("a.log.bak", "a.log.old", "a.log.before-3", "ab.log.1", "b.log.1", "a.logs.1", "xa.log.1"):
        append(log.with_name(name), "of another log")
    reader.restart(killed=True).poll().poll()
    assert reader.words == [*HEADER, "new"]


def test_generations_are_in_order_of_writing_and_of_their_names_where_that_is_the_same(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    names = {"a.log.3.gz": SET, "a.log.2": SET, "a.log.10": SET, "a.log.1": SET + 1, "a.log.2.gz": SET}
    for name, changed_ns in names.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, ns=(changed_ns, changed_ns))
    # While it is being packed a generation is there twice.
    assert [Path(one.path).name for one in generations(str(log))] == ["a.log.10", "a.log.3.gz", "a.log.2", "a.log.1"]


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("a.log.1", -1), ("a.log.12", -12), ("a.1.log", -1), ("a.log-20261123", 20261123), ("a-20261123.log", 20261123),
        ("a.log.2026-11-23", 20261123), ("a.log.2026-11-23_18-30", 202611231830), ("a.log-1795330800", 1795330800),
        ("a-2026-11-23.log", 20261123), ("a-1.log", None), ("a_12345.log", None),
        ("a.log", None), ("a.log.bak", None), ("b.log.1", None), ("a.log.1.old", None), ("a.log1", None),
    ],
)  # fmt: skip
def test_names_tell_generations(name: str, order: int | None) -> None:
    assert order_of("a.log", name) == order
