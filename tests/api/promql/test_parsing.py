"""From text to trees: places in messages, what is refused with which words, and texts made to break a parser."""

import time

import pytest

from api.promql import functions, support
from api.promql.errors import ExpressionError, UnsupportedError
from api.promql.parsing import MAX_DEPTH, MAX_LENGTH, MAX_OPERATORS, parse, pretty
from api.promql.pattern_weight import pattern_weight
from api.promql.tree import Negation, Number, Selector
from store.label_matchers import Matcher
from tests.api.promql.asking import number
from tests.promql_source import S


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sum(", "1:5: parse error: unclosed left parenthesis"),
        ("a\n + sum(", "2:8: parse error: unclosed left parenthesis"),
        ("", "1:1: parse error: no expression found in input"),
        ("rate(m)", "1:6: parse error: expected type matrix in call to function 'rate', got vector"),
        ("1 == 2", "parse error: comparisons between scalars must use BOOL modifier"),
        ("m{", "1:3: parse error: unexpected end of input inside braces"),
        ("m[$__interval]", "1:3: parse error: unexpected character inside brackets: '$'; a variable of Grafana"),
        ('m{a=~"("}', "parse error: illegal regex"),
        ("m @ 1e30", "timestamp out of bounds for @ modifier"),
        ("rate(m[99999999y])", "is beyond 50 years"),
        ("m offset 99999y", "is beyond 50 years"),
        ("{}", "must contain at least one non-empty matcher"),
        ("sum(1)", "expected type vector in aggregation expression, got scalar"),
    ],
)
def test_what_is_no_expression_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as error:
        parse(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rate(m[5m:1m])", "the subquery m[5m:1m]; use a function over a range, such as m[5m]"),
        ("predict_linear(m[5m], 3600)", "function predict_linear; write m + deriv(m[w]) * seconds"),
        ("holt_winters(m[5m], 0.1, 0.1)", "function holt_winters; write avg_over_time"),
        ("histogram_stddev(m)", "function histogram_stddev; write two quantiles"),
        ("info(m)", "function info; select the labels"),
        ("limitk(2, m)", "aggregation limitk; write topk(k, v)"),
        ("limit_ratio(0.5, m)", "aggregation limit_ratio; write topk(k, v)"),
        ("rate(m[5m] smoothed)", "smoothed; rate and increase extrapolate"),
        ("rate(m[5m] anchored)", "anchored; rate and increase extrapolate"),
        ("a + on(x) group_left b", "group_left and group_right; aggregate the side with more series"),
        ("a * ignoring(x) group_right(y) b", "group_left and group_right; aggregate"),
        ("a + fill(0) b", "fill; write `or`"),
        ('m{a="1" or b="2"}', "`or` between matchers; join two selectors"),
        ("m[1m + 1m]", "arithmetic between brackets; write the duration itself"),
        ("ddsketch_quantile(0.9, m)", "function ddsketch_quantile; docs/reference/promql.md lists what is"),
        ('sort_by_label(m, "a")', "function sort_by_label; write sort(v)"),
        ("mad_over_time(m[5m])", "function mad_over_time; write quantile_over_time"),
    ],
)
def test_what_this_server_does_not_have_is_named_with_what_to_write_instead(text: str, message: str) -> None:
    with pytest.raises(UnsupportedError) as error:
        parse(text)
    assert str(error.value).startswith("not supported by this server: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(" * 60_000 + "1" + ")" * 5_000, "brackets are nested"),
        ("(" * 100_000, "characters, at most"),
        ("1" + "+1" * 10_000, "10000 operators, at most"),
        ("-" * 50_000 + "1", "50000 operators, at most"),
        ("sum(" * 10_000 + "m" + ")" * 10_000, "brackets are nested 10000 deep, at most"),
        ("m or " * 5_000 + "m", "5000 operators, at most"),
        ("m[" * 9_000, "brackets are nested"),
        ("m{" * 9_000, "brackets are nested"),
    ],
)
def test_texts_that_would_exhaust_the_parser_never_reach_it(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        parse(text)
    with pytest.raises(ExpressionError, match=message):
        pretty(text)


@pytest.mark.parametrize(
    ("pattern", "heavier_than", "lighter_than"),
    [
        (r"\pL{500}", 70_000, 200_000),
        (r"\p{Greek}{500}", 70_000, 200_000),
        (r"(\w\s){200}", 70_000, 200_000),
        (r"(\w{30}){30}", 70_000, 400_000),
        ("(x{1000}){1000}", 70_000, 10**9),
        (r"\w{20}{30}", 70_000, 200_000),
        ("x{99999999999999}", 70_000, 10**13),
        ("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", 0, 100),
        (r"\d{1,3}[.]\d{1,3}[.]\d{1,3}[.]\d{1,3}", 0, 3_000),
        ("web|db|[[:alpha:]]{3}", 0, 20),
        ("a{", 0, 5),
        ("))((", 0, 10),
        ("\\", 0, 5),
    ],
)
def test_the_weight_of_a_pattern_is_about_what_it_costs(pattern: str, heavier_than: int, lighter_than: int) -> None:
    assert heavier_than <= pattern_weight(pattern) < lighter_than


@pytest.mark.parametrize(
    "literal", [r'"\\pL{500}"', r"'\\pL{500}'", r"`\pL{500}`", r'"\x5cpL{500}"', r'"\u005cpL{500}"', r'"\134pL{500}"']
)
def test_heavy_patterns_are_refused_however_they_are_written(literal: str) -> None:
    for text in (f"m{{a=~{literal}}}", f'label_replace(m, "a", "b", "c", {literal})'):
        with pytest.raises(ExpressionError, match="the regular expressions weigh"):
            parse(text)


def test_many_light_patterns_are_taken_and_many_middling_ones_are_not() -> None:
    assert parse(" or ".join(['m{a=~"web-[0-9]+|db-.*"}'] * 100))
    with pytest.raises(ExpressionError, match="the regular expressions weigh"):
        parse(" or ".join([r'm{a=~"\\w{40}"}'] * 100))


@pytest.mark.parametrize("part", ["[", "[a\\", "{1", "\\p{", "(", "\\x", "[^]"])
def test_weighing_takes_time_in_proportion_to_the_length(part: str) -> None:
    started = time.process_time()
    pattern_weight(part * 30_000)
    assert time.process_time() - started < 1.0


def test_messages_stay_short_whatever_is_in_them() -> None:
    for text in (
        f"m{{__name__='x'}} {'y' * 5000}",
        f"{'x' * 5000}(m)",
        f"{'x' * 5000}{{__name__='y'}}",
        f"{'m' * 5000}[5m:1m]",
    ):
        with pytest.raises((ExpressionError, UnsupportedError)) as error:
            parse(text)
        assert len(str(error.value)) < 500


def test_the_largest_texts_that_are_taken_are_evaluated() -> None:
    deep = "(" * MAX_DEPTH + "1" + ")" * MAX_DEPTH
    assert number(deep) == 1
    assert number(deep + "+1" * MAX_OPERATORS) == MAX_OPERATORS + 1
    assert number("abs(" * (MAX_DEPTH - 1) + "vector(2)" + ")" * (MAX_DEPTH - 1)) == 2
    assert len(pretty(deep + "+1" * MAX_OPERATORS)) > MAX_OPERATORS
    long = f'm{{a=~"{"x" * 4_000}"}}'
    assert isinstance(parse(long), Selector)
    assert isinstance(parse(f"1 #{'x' * (MAX_LENGTH - 3)}"), Number)


def test_brackets_and_operators_inside_strings_and_comments_do_not_count() -> None:
    assert isinstance(parse('m{a="' + "((((" * 100 + '+"} # ' + "(" * 1000), Selector)
    assert isinstance(parse("m{a='" + "\\'[" * 200 + "'}"), Selector)


def test_selectors_carry_matchers_ranges_and_offsets_in_nanoseconds() -> None:
    node = parse('rate({"http.requests", host=~"a.*", rack!="r1", zone!~"z"}[1h30m] offset -90s @ 1.5)')
    (selector,) = node.arguments  # type: ignore[union-attr]
    assert isinstance(selector, Selector)
    assert set(selector.matchers) == {
        Matcher("__name__", "http.requests"),
        Matcher("host", "a.*", "=~"),
        Matcher("rack", "r1", "!="),
        Matcher("zone", "z", "!~"),
    }
    assert (selector.range_ns, selector.offset_ns, selector.at) == (5_400 * S, -90 * S, 1_500_000_000)


def test_an_at_inside_a_label_is_not_taken_for_a_modifier() -> None:
    node = parse('m{a="x @ 7"} @ 5 offset 1s')
    assert isinstance(node, Selector)
    assert node.at == 5 * S


def test_unary_minus_binds_looser_than_power() -> None:
    assert isinstance(parse("-2 ^ 2"), Negation)
    assert number("-2 ^ 2") == -4
    assert number("2 ^ -1") == 0.5
    assert number("2 ^ 3 ^ 2") == 512
    assert number("1 - 2 - 3") == -4


def test_pretty_gives_the_canonical_form() -> None:
    assert pretty("sum( rate(m [5m]) )by(a)") == "sum by (a) (rate(m[5m]))"


def test_the_parser_lets_through_exactly_the_functions_that_exist() -> None:
    assert functions.ALL.keys() == support.FUNCTIONS
    assert not support.FUNCTIONS & support.INSTEAD.keys()
    assert not support.AGGREGATIONS & support.INSTEAD.keys()
