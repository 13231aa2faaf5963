"""Log files that are copied, cut and moved aside: what was in them counts once."""

import shutil
from pathlib import Path

import pytest

from tests.agents.sources.logs_reader import Reader, append, started


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "a.log"


def test_what_was_copied_and_cut_is_finished_from_the_copy(log: Path) -> None:
    append(log, *(f"line {n}" for n in range(50)))
    reader = started(log).poll()
    append(log, "in the copy only")
    shutil.copy(log, log.with_suffix(".log.1"))
    log.write_text("")
    append(log, "new")
    assert reader.poll().words[50:] == ["in the copy only", "new"]
    assert (reader.count("truncated"), reader.source.lag_bytes) == (1, 0)


@pytest.mark.parametrize("away", [False, True])
def test_a_copy_that_the_glob_matches_is_not_read_again(tmp_path: Path, away: bool) -> None:
    log = tmp_path / "a.log"
    append(log, *(f"line {n}" for n in range(50)))
    reader = Reader(tmp_path / "a.log*", begin="beginning").start().poll()
    reader.checkpoint()
    append(log, "more")
    if not away:
        reader.poll()
    shutil.copy(log, tmp_path / "a.log.1")
    if not away:
        reader.poll()
    log.write_text("new\n")
    if away:
        reader.restart(killed=True)
    assert reader.poll().words[50:] == ["more", "new"]
    assert reader.restart().poll().words[50:] == ["more", "new"]
    append(log, "newer")
    assert reader.poll().words[52:] == ["newer"]


@pytest.mark.parametrize("lines", [20, 500])
@pytest.mark.parametrize("pause_s", [0.1, 1.0])
def test_a_copy_without_the_line_that_came_before_the_cut_is_not_read_again(
    tmp_path: Path, lines: int, pause_s: float
) -> None:
    log = tmp_path / "a.log"
    append(log, *(f"line {n}" for n in range(lines)))
    reader = Reader(tmp_path / "a.log*", begin="beginning").start().poll()
    shutil.copy(log, tmp_path / "a.log.1")
    append(log, "late")
    reader.poll(pause_s)  # with or without a look at what files there are
    log.write_text("new\n")
    assert reader.poll().poll().words[lines:] == ["late", "new"]
    assert reader.restart().poll().words[lines:] == ["late", "new"]
    assert reader.count("gone") == 0


def test_a_copy_that_stays_beside_the_file_is_never_read(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    append(log, *(f"line {n}" for n in range(50)))
    reader = Reader(tmp_path / "a.log*", begin="beginning").start().poll()
    append(log, "both have it, and the agent has not read it yet")
    shutil.copy(log, tmp_path / "a.log.bak")
    append(log, "only one has it")
    for _ in range(3):
        assert len(reader.poll().words) == 52
    assert reader.count("copies") == 1
    assert len(reader.restart().poll().words) == 52
    with (tmp_path / "a.log.bak").open("a") as grown:
        grown.write("a line of its own\n")
    assert reader.poll().words[52:] == ["a line of its own"]


@pytest.mark.parametrize("away", [False, True])
def test_a_copy_with_the_inode_of_a_file_that_was_known_is_not_read_again(tmp_path: Path, away: bool) -> None:
    log, copy = tmp_path / "a.log", tmp_path / "a.log.1"
    append(copy, *(f"of yesterday {n}" for n in range(50)))
    append(log, *(f"line {n}" for n in range(60)))
    reader = Reader(tmp_path / "a.log*", begin="beginning").start().poll()
    reader.checkpoint()
    append(log, "in the copy only")
    copy.write_bytes(log.read_bytes())
    if not away:
        reader.poll()
    log.write_text("new\n")
    if away:
        reader.restart(killed=True)
    assert reader.poll().poll().words[110:] == ["in the copy only", "new"]


def test_of_two_copies_of_a_file_that_was_cut_the_one_with_more_is_read(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    append(log, *(f"line {n}" for n in range(50)))
    reader = started(log).poll()
    append(log, "1")
    shutil.copy(log, tmp_path / "a.log.0")
    append(log, "2")
    shutil.copy(log, tmp_path / "a.log.1")
    append(log, "3")
    shutil.copy(log, tmp_path / "a.log.2")
    log.write_text("4\n")
    assert reader.poll().words[50:] == ["1", "2", "3", "4"]


def test_a_file_cut_and_grown_with_the_same_beginning_is_noticed(log: Path) -> None:
    banner = [f"a long banner of a program, line {n} " + "=" * 100 for n in range(10)]
    append(log, *banner, "1")
    reader = started(log).poll()
    log.write_text("".join(f"{line}\n" for line in (*banner, "2", "3")))
    assert reader.poll().words == [*banner, "1", *banner, "2", "3"]
    assert reader.count("truncated") == 1


def test_what_a_renamed_file_has_left_is_read_though_the_next_one_begins_like_it(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    header = [f"#Fields: date time c-ip cs-method cs-uri-stem {n}" for n in range(3)]
    append(log, *header)
    reader = started(log).poll()
    append(log, "1", "2")
    log.rename(tmp_path / "a.log.1")
    append(log, *header, "3")
    assert reader.poll().poll().words[3:] == ["1", "2", "3"]
