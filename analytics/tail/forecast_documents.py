"""Forecasts as JSON documents: what the API answers, the store keeps and command lines print.

A figure is `{"value", "low", "high"}`, with its 95 % interval, None where there is none, as is a number that is none.
"""

import math

from analytics.tail.comparison import Figure
from analytics.tail.policies import Policy
from analytics.tail.policy_documents import policy_document
from analytics.tail.what_if import AtLoad, Forecast, Latencies


def forecast_document(forecast: Forecast, current: Policy | None) -> dict[str, object]:
    """The forecast as JSON holds it; what was withheld is left out.

    Args:
        current: the policy that it took for the one that ran the requests; None: not known.
    """
    return {
        "answered": forecast.answered,
        "current_policy": None if current is None else policy_document(current),
        "refusals": list(forecast.refusals),
        "gates": [
            {
                "name": gate.name,
                "passed": gate.passed,
                "seen": _number(gate.seen),
                "wanted": _number(gate.wanted),
                "text": gate.text,
            }
            for gate in forecast.gates
        ],
        "observed": _latencies(forecast.observed),
        "current": _latencies(forecast.current),
        "candidate": _latencies(forecast.candidate),
        "gain_p99_pct": _figure(forecast.gain_p99_pct),
        "mean_change_pct": _figure(forecast.mean_change_pct),
        "by_load": [_at_load(one) for one in forecast.by_load],
        "requests": forecast.requests,
        "used_cells": [
            {"class": cell.work_class, "degree": cell.degree, "share": cell.share, "requests": cell.requests}
            for cell in forecast.used_cells
        ],
        "learned_basis": forecast.learned_basis or None,
    }


def _latencies(latencies: Latencies | None) -> dict[str, object] | None:
    if latencies is None:
        return None
    return {
        "mean_ms": _figure(latencies.mean_ms),
        "quantiles_ms": {f"p{q * 100:.6g}": _figure(figure) for q, figure in latencies.quantiles_ms.items()},
    }


def _at_load(one: AtLoad) -> dict[str, object]:
    return {
        "sequential_load": one.sequential_load,
        "share_of_time": one.share_of_time,
        "requests": one.requests,
        "observed_p99_ms": _number(one.observed_p99_ms),
        "current_p99_ms": _number(one.current_p99_ms),
        "candidate_p99_ms": _number(one.candidate_p99_ms),
    }


def _figure(figure: Figure | None) -> dict[str, float | None] | None:
    return None if figure is None else {name: _number(getattr(figure, name)) for name in ("value", "low", "high")}


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
