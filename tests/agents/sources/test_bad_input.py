"""What a source cannot use is counted, and now and then shown."""

import sys
import threading

import pytest

from agents.sources.bad_input import BadInput, shown


def test_each_reason_is_counted_and_shown_at_most_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    bad = BadInput("statsd", clock=lambda: now[0])
    for at_s in (0.0, 1.0, 59.0, 60.0):
        now[0] = at_s
        bad.add("no_value", f"line at {at_s:g}")
    bad.add("no_name", b"x", 7)
    bad.add("never", count=0)
    assert bad.counts == {"no_value": 4, "no_name": 7}
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split("example=")[1] for line in lines] == ["'line at 0'", "'line at 60'", "'x'"]
    assert "reason=no_value count_so_far=4" in lines[1]


@pytest.mark.parametrize(
    ("example", "text"),
    [(b"a\x00b\n", r"'a\x00b\n'"), (b"\xff\xfe", "'\ufffd\ufffd'"), ("x" * 500, repr("x" * 100 + "...")), (b"", "''")],
)
def test_what_is_shown_is_short_and_without_control_characters(example: bytes | str, text: str) -> None:
    assert shown(example) == text


def test_threads_count_beside_each_other_while_others_ask() -> None:
    every_so_often, over = sys.getswitchinterval(), threading.Event()
    asked: list[BaseException | int] = []
    bads = [BadInput("statsd") for _ in range(2000)]

    def ask() -> None:
        try:
            while not over.is_set():
                asked.append(sum(count for bad in bads[:50] for _, count in bad.counts.items()))
        except RuntimeError as error:
            asked.append(error)

    def count() -> None:
        for bad in bads:
            for reason in "abcdefgh":
                bad.add(reason)

    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=count) for _ in range(3)]
        asking = threading.Thread(target=ask)
        for thread in (asking, *threads):
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        over.set()
        asking.join()
        sys.setswitchinterval(every_so_often)
    assert not [one for one in asked if isinstance(one, BaseException)]
    assert all(bad.counts == dict.fromkeys("abcdefgh", 3) for bad in bads)
