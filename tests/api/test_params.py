"""Query parameters become questions, or refusals that help."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.config import ApiConfig
from api.errors import LimitError, ParameterError, RequestError
from api.params import RangeParameters, read_levels, read_question
from api.times import SECOND_NS
from store.label_matchers import Matcher

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


@pytest.mark.parametrize(
    ("text", "matcher"),
    [
        ("disk:nvme:0, spare", Matcher("disk", "nvme:0, spare", "=")),
        ("disk=nvme:0", Matcher("disk", "nvme:0", "=")),
        ("disk:nvme=0", Matcher("disk", "nvme=0", "=")),
        ("disk:=0", Matcher("disk", "=0", "=")),
        ("disk==0", Matcher("disk", "=0", "=")),
        ("disk!=a!=b", Matcher("disk", "a!=b", "!=")),
        ("disk=~nvme[0-9]=~?", Matcher("disk", "nvme[0-9]=~?", "=~")),
        ("disk!~nvme:.*", Matcher("disk", "nvme:.*", "!~")),
        ("disk:~home", Matcher("disk", "~home", "=")),
        ("disk:!~a", Matcher("disk", "!~a", "=")),
        (" disk = a ", Matcher("disk", " a ", "=")),
        ("disk:", Matcher("disk", "", "=")),
        ("disk!=", Matcher("disk", "", "!=")),
        ("disk:a\nb", Matcher("disk", "a\nb", "=")),
    ],
)
def test_the_first_sign_after_the_label_is_the_operator_and_the_rest_is_the_value(text, matcher):
    assert ask(where=[text]).where == (matcher,)


def test_several_matchers_may_speak_of_one_label_unless_two_say_equal():
    assert len(ask(where=["host=~web.*", "host!=web-3", "host!=web-4", "host=web-1"]).where) == 4
    with pytest.raises(ParameterError, match=r"host=~a\|b for either"):
        ask(where=["host=a", "host:b"])


@pytest.mark.parametrize(
    ("parameters", "parameter", "words"),
    [
        ({"where": ["host!a"]}, "where", "label!=value"),
        ({"where": ["=a"]}, "where", "no matcher"),
        ({"where": ["host=~web-("]}, "where", "is no regular expression of RE2: missing \\)"),
        ({"where": ["host=~(?=a)"]}, "where", "is no regular expression"),
        ({"where": ["host!~" + "(a{200}){200}"]}, "where", "is no regular expression"),
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


@pytest.mark.parametrize("many", [{"by": [",".join(f"l{i}" for i in range(33))]}, {"where": ["a!=b"] * 33}])
def test_too_many_labels_are_refused_with_the_limit(many):
    with pytest.raises(LimitError) as refused:
        ask(**many)
    assert refused.value.members == {"parameter": next(iter(many)), "limit": 32}


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
