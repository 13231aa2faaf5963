"""Query parameters, from text in a URL to a question for the store.

The pydantic classes are what OpenAPI shows; values stay text there and are read here, because the framework's own
refusals would not say what is accepted. Every number that comes out is inside the limits of ApiConfig.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from api.config import ApiConfig
from api.errors import LimitError, ParameterError
from api.label_text import read_matchers
from api.times import parse_duration, parse_time, short_duration
from store.label_matchers import Matcher

REPEATABLE = frozenset({"q", "by", "where", "below"})
#: Cursors are names, in base64; those that would be longer never become one (api/pagination.py).
CURSOR_MAX = 8_000
DEFAULT_LEVELS = "0.5,0.9,0.99"
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,4})?")

_Text = Annotated[str, Field(max_length=1_000)]


class RangeParameters(BaseModel):
    """What every question over time takes."""

    model_config = ConfigDict(extra="forbid")

    metric: _Text = Field(description="Name of the metric; GET /api/v1/metrics lists them.", examples=["hiccup_us"])
    by: list[_Text] = Field(
        default=[],
        description="Labels to group by, separated by commas or repeated; without it everything is one group.",
        examples=[["src_tor,dst_tor"]],
    )
    where: list[_Text] = Field(
        default=[],
        description="Only series whose label has this value: label:value or label=value; also label!=value, and "
        "label=~regex or label!~regex over whole values (RE2). Repeat it: all must hold.",
        examples=[["dst_tor:12", "src_tor=~1.*"]],
    )
    start: _Text = Field(
        default="-5m",
        description="Begin, inclusive: relative (-5m, now-1h30m), Unix seconds or RFC 3339. Aligned down to a window.",
        examples=["-5m"],
    )
    end: _Text = Field(
        default="now",
        description="End, exclusive, in the same forms. Aligned up to a window.",
        examples=["now"],
    )
    step: _Text | None = Field(
        default=None,
        description="Length of one answer's window (10s, 1h30m, 60); rounded up to whole windows of the metric. "
        "Without it the whole range is one window.",
        examples=["10s"],
    )
    format: _Text | None = Field(
        default=None,
        description="json or csv; without it the Accept header decides, and JSON where that names no CSV.",
        examples=["csv"],
    )


class QuantileParameters(RangeParameters):
    """A question for quantiles."""

    q: list[_Text] = Field(
        default=[DEFAULT_LEVELS],
        description="Quantile levels in [0, 1], separated by commas or repeated; p99 is 0.99.",
        examples=[["0.5,0.99"]],
    )


class DistributionParameters(RangeParameters):
    """A question for whole distributions."""

    scale: int | None = Field(
        default=None,
        description="Buckets per octave are 2**scale: 0 up to the metric's own scale, which is the default.",
        examples=[3],
    )
    max_buckets: int | None = Field(
        default=None,
        description="At most so many buckets in each group: the scale is made coarser until they fit.",
        examples=[60],
    )
    below: list[_Text] = Field(
        default=[],
        description="Values in the metric's unit, separated by commas or repeated: what share lies at or below each?",
        examples=[["200,500"]],
    )


class LinesParameters(RangeParameters):
    """A question for kept lines."""

    max_lines: int | None = Field(
        default=None,
        description="At most so many lines of each group: the oldest of first_lines, the newest of last_lines.",
        examples=[20],
    )


class PageParameters(BaseModel):
    """Where a list continues, and how much of it to send."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=100, description="Entries on the page.", examples=[100])
    cursor: Annotated[str, Field(max_length=CURSOR_MAX)] | None = Field(
        default=None, description="`next_cursor` of the page before."
    )


class MetricsParameters(PageParameters):
    """Which metrics to list."""

    prefix: _Text | None = Field(default=None, description="Only metrics whose names begin so.", examples=["hiccup"])
    query: _Text | None = Field(default=None, description="Only metrics of this query.", examples=["hiccups"])


class AgentsParameters(PageParameters):
    """Which agents to list."""

    state: _Text | None = Field(default=None, description="Only alive, silent or retired ones.", examples=["silent"])
    prefix: _Text | None = Field(default=None, description="Only agents whose ids begin so.", examples=["rack7-"])


class PeersParameters(BaseModel):
    """Which agents one agent is to probe."""

    model_config = ConfigDict(extra="forbid")

    choose: _Text = Field(
        description="Rules, separated by commas: all, same_rack, same_tor, each_rack, each_tor.",
        examples=["same_rack,each_rack"],
    )
    per_group: _Text = Field(default="1", description="How many agents of each other rack or ToR, 1 to 16.")
    most: _Text = Field(default="1000", description="At most so many peers, 1 to 10,000.", examples=["200"])


class LabelParameters(PageParameters):
    """Which series' labels to list."""

    metric: _Text | None = Field(
        default=None, description="Only labels of this metric; without it those of all.", examples=["hiccup_us"]
    )
    where: list[_Text] = Field(
        default=[], description="Only series that all these matchers mean, as in quantiles.", examples=[["host=~web.*"]]
    )


class SeriesParameters(PageParameters):
    """Which series to list."""

    metric: _Text = Field(description="Name of the metric.", examples=["hiccup_us"])
    where: list[_Text] = Field(
        default=[], description="Only series that all these matchers mean, as in quantiles.", examples=[["host=~web.*"]]
    )
    start: _Text = Field(default="-1h", description="Begin of the stretch in which a series must have data.")
    end: _Text = Field(default="now", description="End of it, exclusive.")


class KeptFramesParameters(PageParameters):
    """Which dead letters or quarantined frames to list."""

    reason: _Text | None = Field(
        default=None, description="Only frames with this text in their reason.", examples=["checksum"]
    )
    agent: _Text | None = Field(
        default=None,
        description="Only frames of this agent; frames that are damaged are nobody's.",
        examples=["rack7-host12"],
    )


@dataclass(frozen=True, slots=True)
class Question:
    """A checked question: times in ns UTC with start_ns < end_ns, names not yet compared with the store's."""

    metric: str
    by: tuple[str, ...]
    where: tuple[Matcher, ...]
    start_ns: int
    end_ns: int
    step_ns: int | None


def refuse_repeated(request: Request) -> None:
    """A parameter given twice would silently lose one value; only lists may repeat.

    Raises:
        ParameterError: one that is no list was repeated.
    """
    seen: set[str] = set()
    for name, value in request.query_params.multi_items():
        if "\x00" in name or "\x00" in value:
            raise ParameterError(f"{name[:60]!r} holds a zero byte; leave it out", parameter=name[:60])
        if name in seen and name not in REPEATABLE:
            raise ParameterError(f"{name[:60]} is given more than once; give it once", parameter=name[:60])
        seen.add(name)


def read_question(given: RangeParameters, config: ApiConfig, now_ns: int) -> Question:
    """The question that the parameters ask, with relative times resolved against `now_ns`.

    Raises:
        ParameterError, LimitError: says which parameter, what was seen and what is accepted.
    """
    start_ns, end_ns = read_stretch(given.start, given.end, now_ns)
    by = tuple(split_items(given.by, "by"))
    where = read_matchers(given.where, config.max_labels)
    if len(by) + len(where) > config.max_labels:
        raise LimitError(
            f"by and where name {len(by) + len(where)} labels, at most {config.max_labels} are taken; ask for fewer",
            parameter="by" if by else "where",
            limit=config.max_labels,
        )
    _refuse_doubles(by)
    step_ns = None if given.step is None else parse_duration(given.step, "step")
    if step_ns is not None:
        check_steps(start_ns, end_ns, step_ns, config)
    return Question(given.metric, by, where, start_ns, end_ns, step_ns)


def read_stretch(start: str, end: str, now_ns: int) -> tuple[int, int]:
    """(start, end) in ns UTC, the first before the second.

    Raises:
        ParameterError: unreadable, or the wrong way round.
    """
    start_ns, end_ns = parse_time(start, now_ns, "start"), parse_time(end, now_ns, "end")
    if start_ns >= end_ns:
        raise ParameterError(f"start={start[:60]} is not before end={end[:60]}; swap or widen them", parameter="start")
    return start_ns, end_ns


def check_steps(start_ns: int, end_ns: int, step_ns: int, config: ApiConfig) -> None:
    """Refuse a range cut into more steps than one answer may hold.

    Raises:
        LimitError: too many; the message names the smallest step that would do.
    """
    steps = -(-(end_ns - start_ns) // step_ns)
    if steps > config.max_steps:
        smallest_ns = -(-(end_ns - start_ns) // config.max_steps)
        rounded_ns = -(-smallest_ns // 1_000_000_000) * 1_000_000_000
        raise LimitError(
            f"start, end and step make {steps} steps, at most {config.max_steps} are answered; "
            f"use step={short_duration(rounded_ns)} or longer, or a shorter range",
            parameter="step",
            limit=config.max_steps,
        )


def read_levels(given: Sequence[str], config: ApiConfig) -> list[float]:
    """Quantile levels in the order given, each once.

    Raises:
        ParameterError: not a number in [0, 1]; a percentage gets the level that was probably meant.
        LimitError: more levels than one answer may hold.
    """
    levels = list(dict.fromkeys(_level(text) for text in split_items(given, "q")))
    if len(levels) > config.max_quantiles:
        raise LimitError(
            f"q lists {len(levels)} levels, at most {config.max_quantiles} are answered at once; ask for fewer",
            parameter="q",
            limit=config.max_quantiles,
        )
    if not levels:
        raise ParameterError("q is empty; give levels in [0, 1], such as q=0.5,0.99", parameter="q")
    return levels


def split_items(given: Sequence[str], parameter: str) -> list[str]:
    """The items of a comma-separated, repeatable parameter; `by=` alone is no item."""
    items: list[str] = []
    for text in given:
        if not text.strip():
            continue
        parts = [part.strip() for part in text.split(",")]
        if not all(parts):
            raise ParameterError(
                f"{parameter}={text[:60]!r} has an empty item; write {parameter}=a,b", parameter=parameter
            )
        items.extend(parts)
    return items


def _refuse_doubles(by: Sequence[str]) -> None:
    doubles = [label for label in by if by.count(label) > 1]
    if doubles:
        raise ParameterError(f"by names label {doubles[0][:60]!r} twice; name it once", parameter="by")


def _level(text: str) -> float:
    if _NUMBER.fullmatch(text) is None:
        percent = re.fullmatch(r"[pP]([0-9]{1,2}(?:\.[0-9]{1,6})?)", text)
        hint = f"; did you mean {float(percent[1]) / 100:.10g}?" if percent else ""
        raise ParameterError(
            f"q={text[:60]!r} is not a number{hint or '; give levels in [0, 1], such as q=0.5,0.99'}", parameter="q"
        )
    level = float(text)
    if not 0.0 <= level <= 1.0:
        hint = f"; did you mean {level / 100:.10g}?" if 1.0 < level <= 100.0 else ""
        raise ParameterError(f"q={text[:60]} is outside [0, 1]{hint}", parameter="q")
    return level + 0.0  # -0.0 becomes 0.0
