"""The smart source with a stand-in for smartctl: states, time-outs, broken output, many drives, the real one."""

import json
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.sources.configs import SmartConfig
from agents.sources.smart import MOST_STATES, SmartSource
from agents.sources.smartctl import Answer, Drive, Smartctl, found_drives
from agents.sources.source import Batch
from agents.sources.streams import SMART, SMART_ATTRIBUTES
from tests.agents.sources.smartctl_answers import ata, attribute, failed, found, nvme, raid_volume, scsi
from tests.counterparts.programs import program

WAIT_S = 60.0


class StandIn:
    """A program that prints what was put down for a device, and notes how it was called."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "smartctl"
        self.calls = folder / "calls"
        self._answers = folder / "answers"
        self._answers.mkdir()
        self.path.write_text(
            f"""#!/bin/sh
echo "$*" >> {shlex.quote(str(self.calls))}
for last; do :; done
answer={shlex.quote(str(self._answers))}/$(echo "$last" | tr / _)
if [ -f "$answer.sh" ]; then . "$answer.sh"; fi
exec cat "$answer"
""",
            encoding="utf-8",
        )
        self.path.chmod(0o755)

    def answers(self, what: str, answer: Any) -> None:
        """For a device's path, or --scan: an object as JSON, or bytes as they are."""
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        (self._answers / what.replace("/", "_")).write_bytes(data)

    def does(self, what: str, script: str) -> None:
        """Run these lines of shell first."""
        (self._answers / f"{what.replace('/', '_')}.sh").write_text(script + "\n", encoding="utf-8")

    def source(self, *devices: str, clock: Callable[[], float] = time.monotonic) -> SmartSource:
        return SmartSource(SmartConfig(smartctl_path=str(self.path), devices=devices), clock)


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path)


def rows_of(batches: list[Batch], stream: str = "smart") -> list[dict[str, Any]]:
    return [row for batch in batches if batch.stream == stream for row in batch.rows.to_dicts()]


def until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not ready():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


def test_drives_of_all_kinds_become_rows_of_one_stream(stand_in: StandIn) -> None:
    stand_in.answers("--scan", found(("/dev/sda", "scsi"), ("/dev/nvme0", "nvme"), ("/dev/sdb", "scsi")))
    stand_in.answers("/dev/sda", ata(attribute(5, "Reallocated_Sector_Ct", 99, 4)))
    stand_in.answers("/dev/nvme0", nvme())
    stand_in.answers("/dev/sdb", scsi())
    source = stand_in.source()
    before_ns = time.time_ns()
    source.read_all()
    batches = source.poll()
    for batch in batches:
        assert batch.rows.columns == [name for name in source.streams[batch.stream] if name != "host"]
    rows = rows_of(batches)
    assert [(row["device"], row["kind"], row["state"]) for row in rows] == [
        ("/dev/sda", "ata", "ok"),
        ("/dev/nvme0", "nvme", "ok"),
        ("/dev/sdb", "scsi", "ok"),
    ]
    assert rows[0]["realloc_total"] == 4
    assert rows[1]["realloc_total"] is None
    assert all(before_ns <= row["ts"] <= time.time_ns() and row["read_s"] > 0 for row in rows)
    (one,) = rows_of(batches, "smart_attributes")
    assert (one["device"], one["id"], one["raw"], one["serial"]) == ("/dev/sda", 5, 4, "E1")
    assert source.missing() == {}
    assert source.counters()["drives_read"] == 3
    assert source.poll() == []


def test_smartctl_is_asked_to_leave_drives_asleep_and_to_find_out_types_itself(stand_in: StandIn) -> None:
    stand_in.answers("--scan", found(("/dev/sda", "scsi"), ("/dev/bus/0", "megaraid,8"), ("/dev/sdz", "-x")))
    stand_in.answers("/dev/sda", ata())
    stand_in.answers("/dev/bus/0", scsi())
    source = stand_in.source()
    source.read_all()
    assert stand_in.calls.read_text(encoding="utf-8").splitlines() == [
        "--json=c --scan",
        "--json=c -x -n standby /dev/sda",
        "--json=c -x -n standby -d megaraid,8 /dev/bus/0",
    ]
    assert rows_of(source.poll())[1]["device"] == "/dev/bus/0"


def test_drives_that_the_configuration_names_are_read_instead_of_a_scan(stand_in: StandIn) -> None:
    stand_in.answers("/dev/bus/0", scsi())
    source = stand_in.source("/dev/bus/0 -d megaraid,3")
    source.read_all()
    assert stand_in.calls.read_text(encoding="utf-8") == "--json=c -x -n standby -d megaraid,3 /dev/bus/0\n"
    assert len(rows_of(source.poll())) == 1


@pytest.mark.parametrize(
    "device", ["sda", "--all", "/dev/sda -x", "/dev/sda -d", "/dev/sda -d -x", "/dev/sda /dev/sdb", ""]
)
def test_a_device_that_smartctl_would_take_for_something_else_is_refused(device: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"kind": "smart", "devices": [device]}, SmartConfig)


def test_what_keeps_a_drive_from_being_read_is_a_state_and_loses_nothing(stand_in: StandIn) -> None:
    stand_in.answers("--scan", found(("/dev/sda", "scsi"), ("/dev/sdb", "scsi"), ("/dev/vda", "scsi")))
    stand_in.answers("/dev/sda", failed("Smartctl open device: /dev/sda failed: Permission denied"))
    stand_in.answers("/dev/sdb", failed("Device is in STANDBY mode, exit(2)", 2, "information"))
    stand_in.answers("/dev/vda", raid_volume())
    source = stand_in.source()
    source.read_all()
    (batch,) = source.poll()
    assert batch.lost == ()
    (row,) = batch.rows.to_dicts()
    assert (row["device"], row["state"], row["passed"]) == ("/dev/vda", "no_smart", None)
    states = source.missing()
    assert set(states) == {"/dev/sda", "/dev/sdb", "/dev/vda"}
    assert states["/dev/sda"].startswith("no permission")
    assert states["/dev/sdb"].startswith("asleep")
    assert states["/dev/vda"].startswith("no SMART data")
    stand_in.answers("/dev/sda", ata())
    source.read_all()
    assert set(source.missing()) == {"/dev/sdb", "/dev/vda"}


def test_no_tool_and_no_drives_are_states(stand_in: StandIn, tmp_path: Path) -> None:
    absent = SmartSource(SmartConfig(smartctl_path=str(tmp_path / "nothing")))
    absent.read_all()
    assert "install smartmontools" in absent.missing()["smartctl"]
    assert absent.poll() == []
    named = SmartSource(SmartConfig(smartctl_path="no-such-program-anywhere", devices=("/dev/sda", "/dev/sdb")))
    named.read_all()
    assert list(named.missing()) == ["smartctl"]
    stand_in.answers("--scan", found())
    empty = stand_in.source()
    empty.read_all()
    assert "finds none" in empty.missing()["drives"]
    assert empty.poll() == []


@pytest.mark.parametrize(
    "printed",
    [
        b"",
        b"smartctl 6.6 2016-05-31 r4324\nUsage: smartctl [options] device\n",
        json.dumps(ata()).encode()[:-40],
        b'{"smartctl": {"exit_status": NaN}}',
        b"[" * 100_000,
        b'{"smartctl": {"exit_status": ' + b"9" * 20_000 + b"}}",
        b"\xff\xfe\x00",
        b'{"json_format_version": [1, 0]}',
        b"null",
    ],
    ids=["empty", "text", "cut", "nan", "deep", "number", "binary", "foreign", "null"],
)
def test_an_answer_that_is_none_is_counted_shown_and_lost(
    stand_in: StandIn, printed: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in.answers("--scan", found(("/dev/sda", "scsi"), ("/dev/sdb", "scsi")))
    stand_in.answers("/dev/sda", printed)
    stand_in.answers("/dev/sdb", ata())
    source = stand_in.source()
    source.read_all()
    (batch,) = source.poll()
    assert [(one.count, one.reason) for one in batch.lost] == [(1, "smart_no_answer")]
    assert [row["device"] for row in batch.rows.to_dicts()] == ["/dev/sdb"]
    assert source.counters()["garbage"] == 1
    assert "no JSON of smartctl" in source.missing()["/dev/sda"]
    assert "input left out source=smart reason=garbage" in caplog.text


def test_a_scan_that_answers_nonsense_is_a_state(stand_in: StandIn) -> None:
    stand_in.answers("--scan", b"<html>")
    source = stand_in.source()
    source.read_all()
    assert "no JSON" in source.missing()["smartctl"]
    assert source.poll() == []


def test_output_without_end_is_cut_off(stand_in: StandIn) -> None:
    stand_in.does("/dev/sda", "exec cat /dev/zero")
    answer = Smartctl(str(stand_in.path), WAIT_S).read(Drive("/dev/sda"))
    assert answer.trouble == "too_long"
    assert answer.document is None


def test_a_drive_that_does_not_answer_in_time_is_given_up_with_all_its_processes(
    stand_in: StandIn, tmp_path: Path
) -> None:
    stand_in.does("/dev/sda", f"sleep 600 & echo $! > {tmp_path / 'child'}; printf '{{\"smartctl\"'; wait")
    stand_in.answers("/dev/sdb", ata())
    smartctl = Smartctl(str(stand_in.path), 0.5)
    answer = smartctl.read(Drive("/dev/sda"))
    assert answer.trouble == "timeout"
    child = int((tmp_path / "child").read_text(encoding="utf-8")) if (tmp_path / "child").exists() else None
    if child is not None:
        until(lambda: not Path(f"/proc/{child}/cmdline").exists() or not Path(f"/proc/{child}/cmdline").read_bytes())
    # On a busy machine half a second may be short for any program.
    until(lambda: smartctl.read(Drive("/dev/sdb")).trouble is None)


def test_a_drive_that_timed_out_is_a_lost_record_and_the_others_are_read(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.answers("--scan", found(("/dev/sda", "scsi"), ("/dev/sdb", "scsi")))
    stand_in.answers("/dev/sdb", ata())
    source = stand_in.source()
    stand_in.does("/dev/sda", "exec sleep 600")
    asked = source._smartctl.read

    def read(drive: Drive) -> Answer:
        source._smartctl._timeout_s = 0.2 if drive.path == "/dev/sda" else WAIT_S
        return asked(drive)

    monkeypatch.setattr(source._smartctl, "read", read)
    source.read_all()
    (batch,) = source.poll()
    assert [(one.count, one.reason) for one in batch.lost] == [(1, "smart_no_answer")]
    assert source.counters()["timeouts"] == 1
    assert "no answer within" in source.missing()["/dev/sda"]
    assert [row["device"] for row in batch.rows.to_dicts()] == ["/dev/sdb"]


def test_a_drive_whose_smartctl_hangs_in_the_kernel_is_not_asked_again_before_it_ends(stand_in: StandIn) -> None:
    """Such a process cannot be killed, nor made for a test: one that runs stands in for it."""
    stand_in.answers("/dev/sda", ata())
    source = stand_in.source("/dev/sda")
    hangs = subprocess.Popen(["sleep", "600"])
    source._smartctl._stuck["/dev/sda"] = hangs  # type: ignore[assignment]
    source.read_all()
    (batch,) = source.poll()
    assert [(one.count, one.reason) for one in batch.lost] == [(1, "smart_no_answer")]
    assert "hangs in the kernel" in source.missing()["/dev/sda"]
    assert not stand_in.calls.exists()
    hangs.kill()
    hangs.wait()
    source.read_all()
    assert len(rows_of(source.poll())) == 1
    assert source.missing() == {}


def test_smartctl_runs_with_the_lowest_priority_and_a_fixed_locale(stand_in: StandIn) -> None:
    script = """until [ "$(nice)" = 19 ]; do sleep 0.1; done; printf '{"smartctl": {"lc": "%s"}}' "$LC_ALL"; exit"""
    stand_in.does("/dev/sda", script)
    answer = Smartctl(str(stand_in.path), WAIT_S).read(Drive("/dev/sda"))
    assert answer.document == {"smartctl": {"lc": "C"}}


def test_a_thousand_drives_are_read_and_states_stay_few(stand_in: StandIn) -> None:
    stand_in.answers("--scan", found(*[(f"/dev/sd{n}", "scsi") for n in range(1000)]))
    denied = failed("Smartctl open device: failed: Permission denied")
    # Without a file per drive: what is put down before the answer is looked for.
    text = stand_in.path.read_text(encoding="utf-8")
    even, odd = (f"printf %s {shlex.quote(json.dumps(answer))}; exit" for answer in (nvme(), denied))
    answer = f"case $last in *[02468]) {even};; /dev/*) {odd};; esac\n"
    stand_in.path.write_text(text.replace("answer=", answer + "answer=", 1), encoding="utf-8")
    source = stand_in.source()
    source.read_all()
    rows = rows_of(source.poll())
    assert len(rows) == len({row["device"] for row in rows}) == 500
    assert len(source.missing()) == MOST_STATES + 1
    assert source.missing()["others"] == "more drives cannot be read"


def test_a_scan_is_taken_for_what_it_lists_only() -> None:
    answer = found(
        ("/dev/sda", "scsi"), ("/dev/sda", "sat"), ("sdb", "scsi"), ("/dev/\x1b", "scsi"), ("/dev/" + "x" * 999, "")
    )
    answer["devices"] += [None, {"name": 5}, {"name": "/dev/sdc", "type": 7}, {"name": "/dev/sdd"}]
    assert found_drives(answer) == [Drive("/dev/sda"), Drive("/dev/sdd")]
    assert found_drives({"devices": []}) is None
    assert found_drives({"smartctl": {}, "devices": {"a": 1}}) == []


def test_rounds_come_at_their_interval_and_never_two_at_once(stand_in: StandIn) -> None:
    now = [0.0]
    gate = stand_in.path.with_name("gate")
    stand_in.answers("--scan", found(("/dev/sda", "scsi")))
    stand_in.answers("/dev/sda", ata())
    stand_in.does("/dev/sda", f"while [ ! -e {shlex.quote(str(gate))} ]; do sleep 0.02; done")
    source = stand_in.source(clock=lambda: now[0])
    source.open(None)
    assert source.poll() == []
    now[0] = 31.0  # beyond the longest first wait
    source.poll()
    now[0] += 4000.0  # the first round still runs when the second is due
    source.poll()
    assert source.counters()["rounds_skipped"] == 1
    gate.touch()
    batches: list[Batch] = []
    until(lambda: bool(batches.extend(source.poll()) or batches))
    until(lambda: source._rounds is not None and source._rounds.running_s is None)
    now[0] += 100.0
    assert source.poll() == []
    assert source._rounds is not None
    assert source._rounds.running_s is None
    now[0] += 4000.0
    source.poll()
    until(lambda: bool(source.poll()))
    assert source.counters()["drives_read"] == 2
    source.close()


def test_closing_ends_what_runs_at_once(stand_in: StandIn) -> None:
    now = [0.0]
    stand_in.answers("--scan", found(("/dev/sda", "scsi"), ("/dev/sdb", "scsi")))
    stand_in.does("/dev/sda", "exec sleep 600")
    source = stand_in.source(clock=lambda: now[0])
    source.open(None)
    now[0] = 31.0
    source.poll()
    until(lambda: "/dev/sda" in (stand_in.calls.read_text(encoding="utf-8") if stand_in.calls.exists() else ""))
    until(lambda: source._smartctl.running is not None)
    source.close()
    rounds = source._rounds
    assert rounds is not None
    until(lambda: rounds.running_s is None)
    assert source.poll() == []
    assert "/dev/sdb" not in stand_in.calls.read_text(encoding="utf-8")
    now[0] += 10_000
    assert source.poll() == []
    assert rounds.running_s is None
    source.close()


def test_the_real_smartctl_says_what_this_host_has() -> None:
    """On a virtual machine that is nothing, and a state; on a host with drives it is their rows."""
    binary = program("smartctl")
    source = SmartSource(SmartConfig(smartctl_path=binary))
    source.read_all()
    batches = source.poll()
    assert source.counters().get("garbage", 0) == 0
    assert rows_of(batches) or source.missing()
    for batch in batches:
        assert dict(batch.rows.schema).keys() == {n for n in source.streams[batch.stream] if n != "host"}
    named = SmartSource(SmartConfig(smartctl_path=binary, devices=("/dev/no-such-drive",)))
    named.read_all()
    assert "/dev/no-such-drive" in named.missing()
    assert named.poll() == []


def test_the_streams_are_what_they_are_declared_to_be() -> None:
    source = SmartSource(SmartConfig())
    assert source.streams == {"smart": SMART, "smart_attributes": SMART_ATTRIBUTES}
    assert source.position() is None
    assert source.measured_to_ns(7) == 7
