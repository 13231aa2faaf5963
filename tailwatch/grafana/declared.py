"""Alert rules as they are declared in rules/*.yaml: once, for every form in which they are rendered.

A rule is a value and a limit, not a comparison: so Grafana has the value also while all is well, can say "no data"
when there is none, and shows what it was. A file of rules/ is one group, evaluated together; a new feature adds a file.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from tailwatch.config_check import checked
from tailwatch.errors import DeclarationError
from tailwatch.yaml_tree import read_file

RULES_FOLDER: Final = Path(__file__).with_name("rules")
#: What stands in a `value` behind a range: only windows that ended so long ago count. An offset of 0 s is no PromQL.
SETTLE: Final = " offset $settle"
UID_LENGTH: Final = 40
_DURATION: Final = re.compile(r"(\d+)([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

Severity = Literal["critical", "warning", "info"]
NoData = Literal["OK", "NoData", "Alerting", "KeepLast"]
OnError = Literal["OK", "Error", "Alerting", "KeepLast"]
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Duration = Annotated[str, msgspec.Meta(pattern="^[0-9]+[smhd]$")]
_Id = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_-]*$")]


class DeclaredRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule of a file.

    Raises:
        ValueError: no limit or two, or neither an expression over federated gauges nor why there is none.
    """

    id: _Id
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=190)]
    severity: Severity
    #: PromQL without a comparison; one alert for each of its series.
    value: _Text
    above: float | None = None
    below: float | None = None
    #: How long the value has to stay there.
    wait: _Duration = msgspec.field(default="0s", name="for")
    #: What no value at all means.
    no_data: NoData = "OK"
    on_error: OnError = "Error"
    #: The value for a Prometheus that scrapes /prometheus/federate; "same" where `value` holds there, too.
    federated: str = ""
    #: Why there is none.
    not_federated: str = ""
    summary: _Text
    #: What it means that the rule fires, and what to do then, in this order.
    meaning: _Text
    todo: _Text
    #: "dashboard/panel title" that shows the value.
    panel: str = ""

    def __post_init__(self) -> None:
        """Exactly one limit, and a word on federation."""
        if (self.above is None) == (self.below is None):
            raise ValueError(f"rule {self.id}: want exactly one of above and below")
        if bool(self.federated) == bool(self.not_federated):
            raise ValueError(f"rule {self.id}: want either federated or not_federated, which says why")


class RuleFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of rules/; its name is the group's."""

    #: How often the group is evaluated.
    interval: _Duration
    rules: tuple[DeclaredRule, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule ready to be rendered.

    Attributes:
        value, federated: PromQL, $settle filled in; federated is "" where there is none.
        sign, limit: it fires where `value sign limit`, for wait_s seconds.
        anchor: of the runbook in docs/reference/grafana.md.
        federated_limit: the limit of `federated`, whose unit may be another.
    """

    id: str
    anchor: str
    title: str
    severity: Severity
    value: str
    sign: Literal[">", "<"]
    limit: float
    wait_s: int
    no_data: NoData
    on_error: OnError
    federated: str
    federated_limit: float
    not_federated: str
    summary: str
    meaning: str
    federated_meaning: str
    todo: str
    panel: str

    @property
    def uid(self) -> str:
        """Grafana's identifier of the rule: at most 40 characters, the same in every installation."""
        return short_uid(f"tailwatch-{self.id}")


@dataclass(frozen=True, slots=True)
class RuleGroup:
    """Rules that are evaluated together."""

    name: str
    interval_s: int
    rules: tuple[Rule, ...]


def declared_groups(settle_s: int) -> tuple[RuleGroup, ...]:
    """The groups of rules/*.yaml by name.

    Raises:
        ConfigError: a file is not what RuleFile says; with the line.
        DeclarationError: an interval that Grafana does not take.
    """
    return tuple(
        RuleGroup(path.stem, interval_of(path.stem, file.interval), tuple(_rule(rule, settle_s) for rule in file.rules))
        for path, file in _files()
    )


def interval_of(group: str, text: str) -> int:
    """Seconds of a group's interval; Grafana's scheduler ticks every 10 s and refuses anything between."""
    seconds = seconds_of(text)
    if seconds <= 0 or seconds % 10:
        raise DeclarationError(f"group {group}: interval {text} is not a multiple of 10 s; want 10s, 20s, 30s, 1m, …")
    return seconds


def seconds_of(text: str) -> int:
    """Seconds of 30s, 5m, 1h or 1d."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise DeclarationError(f"{text!r} is no duration; want for example 30s, 5m or 1h")
    return int(found[1]) * _SECONDS[found[2]]


def short_uid(text: str) -> str:
    """The text, or its beginning and a hash of it where it is longer than Grafana takes."""
    if len(text) <= UID_LENGTH:
        return text
    return f"{text[: UID_LENGTH - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@cache
def _files() -> tuple[tuple[Path, RuleFile], ...]:
    return tuple((path, checked(read_file(path), RuleFile)) for path in sorted(RULES_FOLDER.glob("*.yaml")))


def _rule(declared: DeclaredRule, settle_s: int) -> Rule:
    limit = declared.above if declared.above is not None else declared.below
    assert limit is not None, "exactly one is given"
    value = one_line(declared.value).replace(SETTLE, f" offset {settle_s}s" if settle_s else "")
    federated = value if declared.federated == "same" else one_line(declared.federated)
    return Rule(
        id=declared.id,
        anchor=declared.id,
        title=declared.title,
        severity=declared.severity,
        value=value,
        sign=">" if declared.above is not None else "<",
        limit=limit,
        wait_s=seconds_of(declared.wait),
        no_data=declared.no_data,
        on_error=declared.on_error,
        federated=federated,
        federated_limit=limit,
        not_federated=declared.not_federated,
        summary=one_line(declared.summary),
        meaning=one_line(declared.meaning),
        federated_meaning=one_line(declared.meaning),
        todo=one_line(declared.todo),
        panel=declared.panel,
    )


def one_line(text: str) -> str:
    """Folded text of a YAML file without its line ends."""
    return " ".join(text.split())
