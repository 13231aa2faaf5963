"""Objectives as alert rules: how many times too fast the error budget goes, over a long and a short window.

With the objective "99 % of values at most 10 ms", 1 % may be slower: the budget. A burn rate of 1 spends exactly that;
14.4 spends two days' worth of a month's budget in an hour or so. A rule fires where both windows burn too fast: the
long one says that it matters, the short one that it still goes on. Shares of bad values come from merged sketches, so
they are right for any group of hosts, which an average of percentiles is not. The factors are those of Google's SRE
workbook, chapter "Alerting on SLOs".
"""

from dataclasses import dataclass
from typing import Final

from api.promql.number_text import number_text
from tailwatch.grafana.config import GrafanaSettings, ObjectiveConfig
from tailwatch.grafana.declared import Rule, RuleGroup, Severity

#: Quantiles that /prometheus/federate shows; objectives at other levels have no rule for a scraping Prometheus.
FEDERATED_LEVELS: Final = (0.5, 0.9, 0.99, 0.999)
#: The newest windows, seen from now and from 10 s and 20 s ago. A plain range of 30 s would be empty wherever a window
#: takes longer than that until it is scraped, and the rule would never fire.
_NEWEST: Final = "[20s:10s]"
_SCALES_S: Final = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True, slots=True)
class _Burn:
    """One pair of windows."""

    name: str
    long: str
    short: str
    factor: float
    severity: Severity
    interval_s: int


_BURNS: Final = (
    _Burn("fast", "1h", "5m", 14.4, "critical", 30),
    _Burn("slow", "6h", "30m", 6.0, "warning", 300),
)


def objective_groups(settings: GrafanaSettings) -> tuple[RuleGroup, ...]:
    """A group of fast and one of slow burns; none without objectives."""
    if not settings.objectives:
        return ()
    return tuple(
        RuleGroup(
            f"objectives-{burn.name}",
            burn.interval_s,
            tuple(_rule(objective, burn, settings.settle_s) for objective in settings.objectives),
        )
        for burn in _BURNS
    )


def _rule(objective: ObjectiveConfig, burn: _Burn, settle_s: int) -> Rule:
    level, limit = f"p{objective.objective * 100:.6g}", amount(objective.metric, objective.threshold)
    federated = _federated(objective, burn)
    whose = "".join(f" {label} {{{{ $labels.{label} }}}}" for label in objective.by)
    return Rule(
        id=f"slo-{objective.id}-{burn.name}".lower().replace(":", "-"),
        anchor="p99-above-target",
        title=f"{objective.id}: {level} above {limit}, {burn.name} burn",
        severity=burn.severity,
        value=_burn_rate(objective, burn, settle_s),
        sign=">",
        limit=burn.factor,
        wait_s=0,
        no_data="OK",
        on_error="Error",
        federated=federated,
        federated_limit=objective.threshold if burn.name == "fast" else 0.5,
        not_federated="" if federated else f"/prometheus/federate has no quantile {objective.objective:g}",
        summary=f"{objective.metric}{whose or ' of the fleet'} misses its target of {level} at most {limit}",
        meaning=(
            f"More than {(1 - objective.objective) * burn.factor * 100:.3g} % of the values were above {limit}, over "
            f"{burn.long} and still over {burn.short}: the error budget goes at least {burn.factor:g} times too fast."
        ),
        federated_meaning=_federated_meaning(objective, burn, level, limit),
        todo=(
            "Look at the dashboard Fleet tails for when it began and which hosts it is; compare it with deployments, "
            "and with CPU steal and disks of those hosts at that time."
        ),
        panel="tailwatch-fleet/p50, p99 and p99.9",
    )


def _federated_meaning(objective: ObjectiveConfig, burn: _Burn, level: str, limit: str) -> str:
    """What the rule over federated gauges says, which is less."""
    of = "one series" + (f" of each {' and '.join(objective.by)}" if objective.by else "")
    if burn.name == "fast":
        return f"{level} of at least {of} was above {limit} in the newest windows, 20 to 30 s of what has come."
    return f"{level} of at least {of} was above {limit} in more than half of the windows of the last {burn.short}."


def _burn_rate(objective: ObjectiveConfig, burn: _Burn, settle_s: int) -> str:
    """The smaller of both windows' burn rates, where the short one has enough values."""
    long, short = (_rate_of(objective, window, settle_s) for window in (burn.long, burn.short))
    count = f"histogram_count({_sum(objective, 'increase', burn.short, settle_s)}) >= {objective.min_count}"
    return f"(({long} < {short}) or {short}) and {count}"


def _rate_of(objective: ObjectiveConfig, window: str, settle_s: int) -> str:
    values = _sum(objective, "rate", window, settle_s)
    budget = number_text(float(f"{1 - objective.objective:.10g}"))  # 0.01, not 0.010000000000000009
    return f"(1 - histogram_fraction(-Inf, {number_text(objective.threshold)}, {values})) / {budget}"


def _sum(objective: ObjectiveConfig, function: str, window: str, settle_s: int) -> str:
    offset = f" offset {settle_s}s" if settle_s else ""
    return f"sum{_by(objective)}({function}({_selector(objective)}[{window}]{offset}))"


def _federated(objective: ObjectiveConfig, burn: _Burn) -> str:
    """p99 of the worst series, since gauges cannot be merged: above the target now, or in how many windows."""
    if not any(abs(objective.objective - level) < 1e-9 for level in FEDERATED_LEVELS):
        return ""
    quantile = _selector(objective, f'quantile="{objective.objective:g}"')
    counts = _selector(objective, suffix="_count")
    enough = f"sum{_by(objective)}(sum_over_time({counts}[{burn.short}])) >= {objective.min_count}"
    if burn.name == "fast":
        return f"max{_by(objective)}(min_over_time(last_over_time({quantile}[1m]){_NEWEST})) and {enough}"
    above = f"({quantile} > bool {number_text(objective.threshold)})"
    return f"max{_by(objective)}(avg_over_time({above}[{burn.short}:10s])) and {enough}"


def _selector(objective: ObjectiveConfig, more: str = "", suffix: str = "") -> str:
    matchers = ",".join(part for part in (more, objective.selector.strip().rstrip(",")) if part)
    return objective.metric + suffix + (f"{{{matchers}}}" if matchers else "")


def _by(objective: ObjectiveConfig) -> str:
    return f" by ({', '.join(objective.by)}) " if objective.by else ""


def amount(metric: str, value: float) -> str:
    """A value of a metric in words: 500000 of api_request_us is `500 ms`."""
    unit = metric.rpartition("_")[2]
    if unit not in _SCALES_S:
        return f"{value:.6g}" if unit in ("count", "total", "ratio") else f"{value:.6g} {unit}"
    seconds = value * _SCALES_S[unit]
    for name, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.6g} {name}"
    return f"{seconds / 1e-9:.6g} ns"
