"""Log files: each line once, whatever becomes of the files and whenever the agent is stopped and started."""

import gzip
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.sources import logs
from agents.sources.configs import LogsConfig
from agents.sources.logs_file import HEAD_BYTES
from agents.sources.logs_following import LINGER_S
from agents.sources.source import NOTHING_NS
from tests.agents.sources.logs_reader import NOW_NS, WITH_FILE, Reader, append, started


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "a.log"


def test_a_file_that_was_there_is_begun_at_its_end_and_one_that_appears_at_its_beginning(tmp_path: Path) -> None:
    append(tmp_path / "old.log", "before")
    reader = Reader(tmp_path / "*.log").start()
    append(tmp_path / "old.log", "after")
    append(tmp_path / "new.log", "first")
    assert sorted(reader.poll().words) == ["after", "first"]
    append(tmp_path / "old.log", "b")
    append(tmp_path / "newer.log", "c")
    assert sorted(reader.restart().poll().words) == ["after", "b", "c", "first"]


def test_an_end_in_the_middle_of_a_line_begins_with_that_line(log: Path) -> None:
    log.write_text("whole\nbeg")
    reader = Reader(log).start().poll()
    append(log, "un")
    assert reader.poll().words == ["begun"]


def test_a_last_line_without_its_end_waits_for_it(log: Path) -> None:
    log.write_text("one\ntw")
    reader = started(log).poll()
    assert reader.words == ["one"]
    assert reader.source.lag_bytes == 0
    append(log, "o", "three")
    assert reader.restart().poll().words == ["one", "two", "three"]


def test_a_renamed_file_is_finished_before_the_one_that_takes_its_path(log: Path) -> None:
    append(log, "1")
    reader = started(log).poll()
    append(log, "2")
    log.rename(log.with_suffix(".log.1"))
    append(log, "4")
    append(log.with_suffix(".log.1"), "3")
    assert reader.poll().words == ["1", "2", "3", "4"]
    append(log.with_suffix(".log.1"), "late")  # its writer has not been told yet
    assert reader.poll(0.1).words[-1] == "late"


@pytest.mark.parametrize("killed", [False, True])
def test_what_was_renamed_while_the_agent_was_away_is_finished_first(log: Path, killed: bool) -> None:
    append(log, "1", "2")
    reader = started(log).poll()
    reader.checkpoint()
    append(log, "3")
    if killed:
        reader.poll()
        assert reader.words.pop() == "3"  # it was not checkpointed, so it does not count
    log.rename(log.with_suffix(".log.1"))
    append(log, "4")
    assert reader.restart(killed=killed).poll().words == ["1", "2", "3", "4"]
    assert reader.count("rotated") == 1


def test_files_that_are_out_of_sight_for_a_while_go_on_where_they_were(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    for name in "abcde":
        append(folder / f"{name}.log", *(f"{name} {n} was there before the agent was started" for n in range(10)))
    reader = Reader(folder / "*.log", max_files=2).start().poll()
    folder.rename(tmp_path / "away")
    reader.poll(LINGER_S + 1).poll()
    assert "files" in reader.source.missing()
    (tmp_path / "away").rename(folder)
    for number, name in enumerate("abcde"):
        append(folder / f"{name}.log", name)
        os.utime(folder / f"{name}.log", (2e9 + number, 2e9 + number))
        reader.poll()
    assert sorted(reader.words) == list("abcde")


def test_a_file_that_the_configuration_names_no_more_is_left_alone(tmp_path: Path) -> None:
    append(tmp_path / "a.log", "a")
    append(tmp_path / "b.txt", "b" * 70)
    reader = Reader(tmp_path / "*.log", tmp_path / "*.txt", begin="beginning").start().poll()
    both = reader.entry
    reader.entry = LogsConfig((both.paths[0],), "regex", "words", both.regex, begin="beginning")
    reader.restart()
    append(tmp_path / "b.txt", "b2")
    append(tmp_path / "a.log", "a2")
    assert reader.poll().poll().words == ["a", "b" * 70, "a2"]
    reader.entry = both
    assert reader.restart().poll().words == ["a", "b" * 70, "a2", "b2"]  # named again: from where it was left


def test_a_file_cut_and_grown_beyond_its_old_size_between_two_looks_is_noticed(log: Path) -> None:
    append(log, *"abc")
    reader = started(log).poll()
    log.write_text("d\ne\nf\ng\nh\n")
    assert reader.poll().words == list("abcdefgh")
    assert reader.count("truncated") == 1


def test_a_deleted_file_is_read_to_its_end_also_without_a_last_line_end(log: Path) -> None:
    append(log, "1")
    reader = started(log).poll()
    with log.open("a") as writer:
        writer.write("2\nrest")
        writer.flush()
        log.unlink()
        assert reader.poll().words == ["1", "2"]
        writer.write(" of it\nend")
    assert reader.poll(LINGER_S / 2).words == ["1", "2", "rest of it"]
    assert reader.poll(LINGER_S + 1).poll().words == ["1", "2", "rest of it", "end"]
    assert reader.source.missing() == {"files": f"no file matches {log}"}
    append(log, "new")
    assert reader.poll().words[-1] == "new"


def test_an_inode_that_is_used_again_is_another_file(log: Path) -> None:
    append(log, "one", "two")
    reader = started(log).poll()
    reader.checkpoint()
    log.write_text("oxe\ntwo\nthree\n")  # the same inode and more bytes, as of a file that came later
    assert reader.restart(killed=True).poll().words == ["one", "two", "oxe", "two", "three"]


def test_a_file_that_an_editor_wrote_anew_goes_on_where_it_was(log: Path, tmp_path: Path) -> None:
    append(log, *(f"line {n}" for n in range(30)))
    reader = started(log).poll()
    shutil.copy(log, tmp_path / "b")
    append(tmp_path / "b", "added")
    (tmp_path / "b").replace(log)
    assert reader.poll().words[30:] == ["added"]
    assert reader.restart().poll().words[30:] == ["added"]


def test_compressed_files_are_left_alone(log: Path) -> None:
    append(log, "1")
    reader = Reader(log.with_name("a.log*"), begin="beginning").start().poll()
    with gzip.open(log.with_name("a.log.2.gz"), "wb") as file:
        file.write(b"0\n")
    assert reader.poll().words == ["1"]


def test_links_to_one_file_are_one_file_and_a_link_that_turns_elsewhere_is_followed(tmp_path: Path) -> None:
    append(tmp_path / "0.txt", "a")
    (tmp_path / "x.log").symlink_to("0.txt")
    (tmp_path / "y.log").symlink_to("0.txt")
    (tmp_path / "broken.log").symlink_to("nothing")
    reader = Reader(tmp_path / "*.log", begin="beginning").start().poll()
    assert reader.words == ["a"]
    append(tmp_path / "0.txt", "b")
    append(tmp_path / "1.txt", "c")
    for name in ("x.log", "y.log"):
        (tmp_path / name).unlink()
        (tmp_path / name).symlink_to("1.txt")
    assert reader.restart().poll().words == ["a", "b", "c"]


def test_more_files_than_the_limit_are_a_state_and_those_that_change_are_followed(tmp_path: Path) -> None:
    for number in range(5):
        append(tmp_path / f"{number}.log", "old")
        os.utime(tmp_path / f"{number}.log", (number, number))
    reader = Reader(tmp_path / "*.log", max_files=2).start().poll()
    assert reader.source.missing() == {"files": "3 of 5 files are not followed: max_files is 2"}
    for number in range(5):
        append(tmp_path / f"{number}.log", f"new {number}")
        os.utime(tmp_path / f"{number}.log", (1000 + number, 1000 + number))
        reader.poll()
        if number == 2:
            reader.restart()
    assert reader.words == [f"new {number}" for number in range(5)]
    append(tmp_path / "fresh.log", "first")
    assert reader.poll().words[-1] == "first"


def test_a_file_that_may_not_be_read_is_a_state(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agents.sources import logs_following

    def refuse(path: str) -> int:
        raise PermissionError(13, "Permission denied", path)

    append(log, "a")
    with monkeypatch.context() as patched:
        patched.setattr(logs_following, "opened", refuse)
        reader = started(log).poll()
        assert reader.source.missing() == {str(log): "Permission denied"}
    assert reader.poll().words == ["a"]
    assert reader.source.missing() == {}


def test_a_disk_that_fails_is_a_state_and_the_file_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agents.sources import logs_file

    class Failing:
        """os, but that nothing can be read."""

        def __getattr__(self, name: str) -> object:
            return getattr(os, name)

        def pread(self, *_: object) -> bytes:
            raise OSError(5, "Input/output error")

    append(tmp_path / "a.log", *(f"line {n}" for n in range(30)))
    reader = Reader(tmp_path / "*.log", begin="beginning").start().poll()
    append(tmp_path / "a.log", "after")
    append(tmp_path / "b.log", "new")
    with monkeypatch.context() as patched:
        patched.setattr(logs_file, "os", Failing())
        assert reader.poll().words[30:] == []
        assert reader.source.missing()[str(tmp_path / "a.log")] == "Input/output error"
        reader.poll()
    assert sorted(reader.poll().words[30:]) == ["after", "new"]
    assert (reader.source.missing(), reader.count("truncated")) == ({}, 0)


def test_a_last_line_that_cannot_be_read_is_given_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agents.sources.logs_file import LogFile

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    log = tmp_path / "a.log"
    log.write_text("".join(f"line {n}\n" for n in range(30)) + "end")
    reader = started(log).poll()
    log.rename(tmp_path / "elsewhere")
    with monkeypatch.context() as patched:
        patched.setattr(LogFile, "read", fail)
        assert reader.poll(LINGER_S + 1).words[30:] == []
        assert reader.source.missing()[str(log)] == "Input/output error"
    (tmp_path / "elsewhere").rename(log)
    append(log, "")
    assert reader.poll().words[30:] == ["end"]


def test_a_name_that_is_no_text_is_a_state(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff.log"
    try:
        Path(os.fsdecode(path)).write_text("a\n")
    except OSError:
        pytest.skip("this file system has no such names")
    reader = Reader(tmp_path / "*.log", begin="beginning").start().poll()
    assert reader.source.missing()[str(tmp_path / "?.log")] == "has a name that is no UTF-8"
    reader.restart()


def test_what_is_no_regular_file_is_a_state_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.log")
    (tmp_path / "folder.log").mkdir()
    reader = Reader(tmp_path / "*.log", begin="beginning").start().poll()
    assert reader.source.missing()[str(tmp_path / "pipe.log")] == "is no regular file"


def test_the_column_file_names_each_line_s_file(tmp_path: Path) -> None:
    for name in ("a.log", "b.log", "c.log"):
        append(tmp_path / name, name, name)
    reader = Reader(tmp_path / "*.log", schema=WITH_FILE, begin="beginning").start().poll()
    assert reader.files == reader.words
    assert sorted(set(reader.files)) == ["a.log", "b.log", "c.log"]


def test_a_new_pattern_in_the_configuration_begins_old_files_as_configured(tmp_path: Path) -> None:
    append(tmp_path / "a.log", "a")
    append(tmp_path / "b.txt", "b")
    reader = Reader(tmp_path / "*.log").start().poll()
    append(tmp_path / "a.log", "a2")
    reader.entry = LogsConfig((*reader.entry.paths, str(tmp_path / "*.txt")), "regex", "words", reader.entry.regex)
    name = reader.source.name
    reader.restart()
    append(tmp_path / "b.txt", "b2")
    assert reader.source.name == name
    assert sorted(reader.poll().words) == ["a2", "b2"]


def test_it_vouches_for_a_quiet_log_up_to_the_last_look(log: Path) -> None:
    append(log, "a")
    reader = started(log)
    assert reader.source.measured_to_ns(5) == NOTHING_NS
    reader.poll()
    assert reader.source.measured_to_ns(7) == 7
    reader.poll(0.1)
    assert reader.source.measured_to_ns(8) == 7  # a file may have appeared that nobody looked for
    reader.poll()
    assert reader.source.measured_to_ns(9) == 9


def test_a_log_that_is_behind_vouches_for_the_times_it_has_given(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "BLOCK_BYTES", 600)
    times = [NOW_NS // 10**9 + n for n in range(200)]
    append(log, *(f"{at} w" for at in times))
    reader = started(log, regex=r"^(?P<at>\d+) (?P<word>.*)$", time_column="at", time_format="s", max_line_bytes=256)
    reader.clock.s += 1
    given = reader.source.poll()[0].rows
    assert given.height < 200
    assert reader.source.measured_to_ns(NOW_NS * 2) == given["ts"].max() < times[-1] * 10**9
    assert reader.source.lag_bytes > 0


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.sampled_from(
            [
                "write",
                "half",
                "rename",
                "copy",
                "copy late",
                "backup",
                "poll",
                "look",
                "checkpoint",
                "kill",
                "stop",
                "prune",
            ]
        ),
        max_size=40,
    ),
    globbed=st.booleans(),
)
def test_every_line_counts_once_whatever_happens_to_the_file(
    steps: list[str], globbed: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Between what is written and its rotation the agent may be away, but not for two rotations."""
    folder = tmp_path_factory.mktemp("logs")
    log = folder / "a.log"
    reader = Reader(folder / ("a.log*" if globbed else "a.log"), begin="beginning").start()
    written: list[str] = []
    counted: list[str]  # what the last checkpoint stored
    number, rotations, half = 0, 0, False
    append(log, *(header := [f"a line to tell the file by {n}, {'=' * 40}" for n in range(20)]))
    written += header
    counted = list(reader.poll().words)
    reader.checkpoint()
    for step in [*steps, "look", "checkpoint"]:
        if step in ("write", "half"):
            number += 1
            text = f"line {number} of the test"
            if half:
                written[-1] += text
            else:
                written.append(text)
            half = step == "half"
            with log.open("a") as file:
                file.write(text + ("" if half else "\n"))
        elif step == "backup":
            counted = list(reader.poll().words)  # of two files that were both never seen, none is the copy
            reader.checkpoint()
            number += 1
            shutil.copy(log, folder / f"a.log.before-{number}")
        elif step in ("rename", "copy", "copy late") and not half:
            reader.poll()
            counted = list(reader.words)
            reader.checkpoint()
            rotations += 1
            for _ in range(number % 3):
                number += 1
                written.append(f"line {number} just before")
                append(log, written[-1])
            if step == "rename":
                log.rename(folder / f"a.log.{rotations}")
            else:
                shutil.copy(log, folder / f"a.log.{rotations}")
                if step == "copy late":  # written before the file is cut, and read: that is why it is not lost
                    number += 1
                    written.append(f"line {number} between copying and cutting")
                    append(log, written[-1])
                    known_by_its_head = (folder / f"a.log.{rotations}").stat().st_size >= HEAD_BYTES
                    counted = list(reader.poll(number % 2 if known_by_its_head else 1).words)
                    reader.checkpoint()
                log.write_text("")
            number += 1
            written.append(f"line {number} opens file {rotations} and is long enough to tell it from all the others")
            append(log, written[-1])
        elif step == "poll":
            reader.poll(0.1)
        elif step == "look":
            reader.poll()
        elif step == "checkpoint":
            counted = list(reader.words)
            reader.checkpoint()
        elif step == "kill":
            reader.words = list(counted)
            reader.restart(killed=True)
        elif step == "stop":
            reader.restart()
            counted = list(reader.words)
        elif step == "prune" and rotations > 2:
            reader.poll()
            counted = list(reader.words)
            reader.checkpoint()
            (folder / f"a.log.{rotations - 2}").unlink(missing_ok=True)
    reader.poll().poll()
    assert reader.words == (written[:-1] if half else written)
    reader.source.close()
