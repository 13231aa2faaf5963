"""What followed failures, where attempts are numbered as nobody should."""

from analytics.gpu.repeats import repeats
from analytics.gpu.traces.columns import frame_of, with_durations
from tests.analytics.gpu.attempt_rows import attempt


def test_gaps_and_doubles_in_attempt_numbers_are_no_retries() -> None:
    chain = [attempt(1, job="gap"), attempt(3, job="gap"), attempt(1, job="two"), attempt(1, job="two")]
    found = repeats(with_durations(frame_of([*chain, attempt(1, job="j"), attempt(2, "", outcome="passed", job="j")])))
    assert found is not None
    assert (found.again.hits, found.again.trials) == (0, 1)
    assert found.retried == 2
    assert repeats(with_durations(frame_of([attempt(1, job="two"), attempt(1, job="two")]))) is None
