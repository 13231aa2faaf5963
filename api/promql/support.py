"""Which functions and aggregations exist here, and what to write instead of those that do not."""

_FUNCTIONS = """
abs absent absent_over_time acos acosh asin asinh atan atanh avg_over_time ceil changes clamp clamp_max clamp_min
cos cosh count_over_time day_of_month day_of_week day_of_year days_in_month deg delta deriv exp floor
histogram_avg histogram_count histogram_fraction histogram_quantile histogram_sum hour idelta increase irate
label_join label_replace last_over_time ln log10 log2 max_over_time min_over_time minute month pi
present_over_time quantile_over_time rad rate resets round scalar sgn sin sinh sort sort_desc sqrt stddev_over_time
stdvar_over_time sum_over_time tan tanh time timestamp vector year
"""
_AGGREGATIONS = "avg bottomk count count_values group max min quantile stddev stdvar sum topk"

FUNCTIONS = frozenset(_FUNCTIONS.split())
AGGREGATIONS = frozenset(_AGGREGATIONS.split())

INSTEAD = {
    "predict_linear": "write m + deriv(m[w]) * seconds for the metric m",
    "holt_winters": "write avg_over_time(m[w])",
    "double_exponential_smoothing": "write avg_over_time(m[w])",
    "histogram_stddev": "write two quantiles, such as histogram_quantile(0.84, h) - histogram_quantile(0.5, h)",
    "histogram_stdvar": "write two quantiles, such as histogram_quantile(0.84, h) - histogram_quantile(0.5, h)",
    "histogram_quantiles": "write one histogram_quantile(q, h) for each q, joined by `or`",
    "first_over_time": "write last_over_time(m[w] offset w) for the end of the range before",
    "mad_over_time": "write quantile_over_time(0.75, m[w]) - quantile_over_time(0.25, m[w])",
    "info": "select the labels with the metric itself",
    "sort_by_label": "write sort(v), or sort where you show the answer",
    "sort_by_label_desc": "write sort_desc(v), or sort where you show the answer",
    "limitk": "write topk(k, v)",
    "limit_ratio": "write topk(k, v)",
}

GENERAL_HINT = "docs/reference/promql.md lists what is"


def name_kept(function: str) -> bool:
    """Whether a function over a range leaves the metric's name: it shows samples as they are."""
    return function == "last_over_time"


def refusal(what: str, instead: str = "") -> str:
    """The sentence for something that PromQL has and this server has not."""
    return f"not supported by this server: {what}; {instead or GENERAL_HINT}"
