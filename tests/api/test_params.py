"""Query parameters become questions, or refusals that help."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.config import ApiConfig
from api.errors import LimitError, ParameterError, RequestError
from api.params import RangeParameters, read_levels, read_question
from api.times import SECOND_NS

NOW_NS = 1_795_330_810 * SECOND_NS
CONFIG = ApiConfig()


def ask(**given_parameters):
    return read_question(RangeParameters(metric="rtt_us", **given_parameters), CONFIG, NOW_NS)


def test_without_more_the_last_five_minutes_are_one_group():
    question = ask()
    assert (question.start_ns, question.end_ns) == (NOW_NS - 300 * SECOND_NS, NOW_NS)
    assert (question.by, question.where, question.step_ns) == ((), (), None)


def test_lists_may_be_comma_separated_or_repeated():
    assert ask(by=["a,b", "c"]).by == ("a", "b", "c")
    assert ask(by=[""]).by == ()
    assert read_levels(["0.5,0.99", "1"], CONFIG) == [0.5, 0.99, 1.0]
    assert read_levels(["0.5,0.5,.5"], CONFIG) == [0.5]


def test_a_matcher_splits_at_the_first_colon_and_keeps_the_value_as_it_is():
    assert ask(where=["disk:nvme:0, spare", "host:"]).where == (("disk", "nvme:0, spare"), ("host", ""))


@pytest.mark.parametrize(
    ("parameters", "parameter", "words"),
    [
        ({"where": ["host=a"]}, "where", "did you mean where=host:a?"),
        ({"where": ["host"]}, "where", "label:value"),
        ({"where": [":a"]}, "where", "label:value"),
        ({"where": ["host:a", "host:b"]}, "where", "twice"),
        ({"by": ["a,,b"]}, "by", "empty item"),
        ({"by": ["a,a"]}, "by", "twice"),
        ({"start": "now", "end": "-5m"}, "start", "not before"),
        ({"start": "now"}, "start", "not before"),
        ({"step": "0"}, "step", "longer than 0"),
        ({"step": "soon"}, "step", "not a duration"),
    ],
)
def test_refused_questions_name_the_parameter(parameters, parameter, words):
    with pytest.raises(ParameterError, match=words.replace("?", r"\?")) as refused:
        ask(**parameters)
    assert refused.value.members["parameter"] == parameter


def test_too_many_steps_are_refused_with_the_limit_and_a_step_that_fits():
    with pytest.raises(LimitError) as refused:
        ask(start="0", step="1ms")
    assert refused.value.members == {"parameter": "step", "limit": 11_000}
    step = refused.value.detail.partition("use step=")[2].partition(" ")[0]
    assert ask(start="0", step=step).step_ns is not None


def test_too_many_labels_are_refused_with_the_limit():
    with pytest.raises(LimitError) as refused:
        ask(by=[",".join(f"l{i}" for i in range(33))])
    assert refused.value.members["limit"] == 32


@pytest.mark.parametrize(
    ("q", "words"),
    [
        ("99", "did you mean 0.99?"),
        ("99.9", "did you mean 0.999?"),
        ("p99", "did you mean 0.99?"),
        ("p99.9", "did you mean 0.999?"),
        ("101", "outside [0, 1]"),
        ("-0.1", "outside [0, 1]"),
        ("1e400", "outside [0, 1]"),
        ("nan", "not a number"),
        ("inf", "not a number"),
        ("0.5;0.9", "not a number"),
        ("0_5", "not a number"),
        ("0.5,,0.9", "empty item"),
        ("", "q is empty"),
    ],
)
def test_levels_that_are_none_are_refused_with_what_was_meant(q, words):
    with pytest.raises(ParameterError) as refused:
        read_levels([q], CONFIG)
    assert words in refused.value.detail
    assert refused.value.members["parameter"] == "q"


def test_too_many_levels_are_refused_with_the_limit():
    with pytest.raises(LimitError) as refused:
        read_levels([",".join(str(i / 100) for i in range(33))], CONFIG)
    assert refused.value.members == {"parameter": "q", "limit": 32}


def test_minus_zero_is_zero():
    assert math.copysign(1, read_levels(["-0.0"], CONFIG)[0]) == 1


@given(st.lists(st.text(max_size=30), max_size=4))
def test_any_text_becomes_levels_in_range_or_a_refusal(texts):
    try:
        levels = read_levels(texts, CONFIG)
    except RequestError:
        return
    assert levels
    assert all(0 <= level <= 1 for level in levels)


@given(
    by=st.lists(st.text(max_size=20), max_size=3),
    where=st.lists(st.text(max_size=20), max_size=3),
    start=st.text(max_size=12) | st.integers(-(10**20), 10**20).map(str),
    step=st.none() | st.text(max_size=12) | st.integers(0, 10**13).map(str),
)
def test_any_question_is_inside_the_limits_or_refused(by, where, start, step):
    try:
        question = ask(by=by, where=where, start=start, step=step)
    except RequestError as error:
        refusal = error.detail
    else:
        refusal = ""
    assert len(refusal) < 500
    if refusal:
        return
    assert 0 <= question.start_ns < question.end_ns < 2**63
    if question.step_ns is not None:
        assert (question.end_ns - question.start_ns) / question.step_ns <= CONFIG.max_steps
