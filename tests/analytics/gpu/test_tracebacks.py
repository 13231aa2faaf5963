"""Chains of exceptions: which came first, what was raised because of it, and what was cut off."""

from analytics.gpu.tracebacks import tracebacks
from tests.analytics.gpu.plain_scan import exception, found, marker, scanned, signature

BEGINS = "traceback-begins"


def test_the_origin_of_a_chain_is_its_first_exception() -> None:
    walk = tracebacks(
        [
            marker(BEGINS, 1),
            exception("KeyError", 5),
            marker("traceback-direct-cause", 7),
            marker(BEGINS, 9),
            exception("ValueError", 14),
            marker("traceback-while-handling", 16),
            exception("RuntimeError", 20),
        ]
    )
    assert [(one.match.captured["exception"], one.chain, one.depth) for one in walk.raised] == [
        ("KeyError", 0, 0),
        ("ValueError", 0, 1),
        ("RuntimeError", 0, 2),
    ]
    assert walk.cut_off == ()


def test_exceptions_without_a_link_are_chains_of_their_own() -> None:
    walk = tracebacks([exception("KeyError", 3), exception("TypeError", 9)])
    assert [(one.chain, one.depth) for one in walk.raised] == [(0, 0), (1, 0)]


def test_ranks_in_one_file_do_not_mix_their_chains() -> None:
    walk = tracebacks(
        [
            exception("KeyError", 1, rank=0),
            exception("TypeError", 2, rank=1),
            marker("traceback-direct-cause", 3, rank=0),
            exception("ValueError", 4, rank=1),
            exception("OSError", 5, rank=0),
        ]
    )
    depths = {(one.match.line.rank, one.match.captured["exception"]): one.depth for one in walk.raised}
    assert depths == {(0, "KeyError"): 0, (0, "OSError"): 1, (1, "TypeError"): 0, (1, "ValueError"): 0}


def test_a_traceback_without_its_exception_is_told_as_cut_off() -> None:
    walk = tracebacks([marker(BEGINS, 1), exception("KeyError", 4), marker(BEGINS, 8)])
    assert [one.line.number for one in walk.cut_off] == [8]
    assert len(walk.raised) == 1


def test_an_exception_whose_traceback_lost_its_top_still_counts() -> None:
    walk = tracebacks([exception("KeyError", 1), marker("traceback-direct-cause", 2), exception("ValueError", 5)])
    assert [one.depth for one in walk.raised] == [0, 1]


def test_what_a_worker_raised_is_an_origin_and_the_wrapper_takes_no_place() -> None:
    wrapper = found(signature("raised-wrapper-worker", "remote_worker_died", "cascade", 20), 3)
    walk = tracebacks(
        [marker(BEGINS, 1), exception("RuntimeError", 3), wrapper, marker(BEGINS, 4), exception("KeyError", 9)]
    )
    assert [(one.match.captured["exception"], one.depth) for one in walk.raised] == [("KeyError", 0)]


def test_the_more_telling_of_two_rows_on_one_line_counts() -> None:
    walk = tracebacks([exception("any", 3, weight=20), exception("ImportError", 3, "import_error", 60)])
    assert [one.match.signature.reason for one in walk.raised] == ["import_error"]


def test_shipped_rows_find_exceptions_in_a_real_layout() -> None:
    scan = scanned(
        [
            "Traceback (most recent call last):",
            '  File "train.py", line 8, in load',
            "    raise KeyError(name)",
            "KeyError: 'blocks'",
            "",
            "The above exception was the direct cause of the following exception:",
            "",
            "Traceback (most recent call last):",
            '  File "train.py", line 30, in <module>',
            "    except KeyError:",
            "mylib.errors.LoadError: blocks cannot be read",
        ]
    )
    walk = tracebacks(scan.matches)
    assert [(one.match.line.text.split(":")[0], one.depth) for one in walk.raised] == [
        ("KeyError", 0),
        ("mylib.errors.LoadError", 1),
    ]
