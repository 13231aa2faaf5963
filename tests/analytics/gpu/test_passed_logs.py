"""Logs of jobs that passed, made up: hardly any may be said to have failed."""

from collections import Counter

from analytics.gpu.classifier import diagnose
from analytics.gpu.passed_logs import passed_log, passed_logs
from tests.analytics.gpu.plain_scan import scanned

#: Of answered ones in a hundred; the target is 1.
MOST_FALSE_PCT = 1.0


def test_the_same_seed_makes_the_same_log() -> None:
    assert passed_log(5) == passed_log(5)
    assert passed_log(5) != passed_log(6)


def test_made_up_logs_are_full_of_words_that_failures_use() -> None:
    text = "\n".join(line for _, lines in passed_logs(60) for line in lines).lower()
    for word in (
        "0 errors",
        "error_rate=0.",
        "no out of memory",
        "traceback",
        "nan",
        "segmentation",
        "time limit",
        "xid",
    ):
        assert word in text


def test_hardly_any_passed_job_is_said_to_have_failed() -> None:
    count = 200
    said = Counter(diagnose([scanned(lines)]).status for _, lines in passed_logs(count, seed=11))
    assert 100 * said["answered"] / count <= MOST_FALSE_PCT
