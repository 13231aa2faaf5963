"""What `tailwatch tail whatif` and `services what-if` print: gates, then the forecast; or why there is none.

Both have the forecast as the document that analytics/tail/forecast_documents.py makes of it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from analytics.tail.policies import Policy, Predictive, Tpc, WqLinear
from analytics.tail.policy_documents import policy_from
from tailwatch.terminal import table

Document = Mapping[str, Any]


def forecast_text(found: Document, candidate: Policy | None, fan_out: int) -> str:
    """All of it in words; `candidate` is None where none was found."""
    return "\n".join(_lines(found, candidate, fan_out))


def shown_policy(policy: Policy) -> str:
    """Its name with its numbers."""
    if isinstance(policy, Tpc):
        one = policy.table
        targets = ", ".join(f"{target:g}" for target in one.targets_ms)
        goal = "the largest degree" if one.full else "one thread more"
        corrected = f"; a correction gives {goal}" if policy.correction else ""
        return f"{policy.name}, targets by {one.metric} in steps of {one.width:g}: {targets} ms{corrected}"
    if isinstance(policy, Predictive):
        return f"{policy.name} from {policy.long_ms:g} ms"
    return f"{policy.name}, 1 thread at {policy.most_waiting:g}" if isinstance(policy, WqLinear) else policy.name


def _lines(found: Document, candidate: Policy | None, fan_out: int) -> Iterator[str]:
    if "current_policy" in found:
        current = found["current_policy"]
        yield f"now: {'degrees as recorded' if current is None else shown_policy(policy_from(current))}"
    if candidate is not None:
        yield f"candidate: {shown_policy(candidate)}"
    yield ""
    gates = [[gate["name"], "holds" if gate["passed"] else "FAILS", gate["text"]] for gate in found["gates"]]
    yield table(["gate", "", "what it says"], gates, [False, False, False])
    yield ""
    if not found["answered"]:
        yield "no forecast:"
        yield from (f"- {refusal}" for refusal in found["refusals"])
        return
    of = f"quantiles of the slowest of {fan_out} servers, mean of one" if fan_out > 1 else "milliseconds"
    yield f"forecast from {found['requests']:,} replayed requests ({of}, with 95 % intervals):"
    yield _compared(found)
    if found["gain_p99_pct"] is not None:
        yield f"p99 {_changed(found['gain_p99_pct'], 'shorter', 'longer')}"
    if found["mean_change_pct"] is not None:
        yield f"mean {_changed(found['mean_change_pct'], 'longer', 'shorter')}"
    if found["by_load"]:
        yield ""
        yield "p99 by load, milliseconds:"
        yield _by_load(found)


def _compared(found: Document) -> str:
    columns = {"observed": found["observed"], "replayed": found["current"], "candidate": found["candidate"]}
    told = {name: one for name, one in columns.items() if one is not None}
    names = list(dict.fromkeys(name for one in told.values() for name in one["quantiles_ms"]))
    rows = [["mean", *(_shown(one["mean_ms"]) for one in told.values())]]
    rows += [[name, *(_shown(one["quantiles_ms"].get(name)) for one in told.values())] for name in names]
    return table(["", *told], rows, [False, *([True] * len(told))])


def _by_load(found: Document) -> str:
    head = ["load", "of the time", "requests", "observed", "replayed", "candidate"]
    rows = [
        [
            f"{one['sequential_load']:.2f}",
            f"{one['share_of_time']:.0%}",
            f"{one['requests']:,}",
            *(_ms(one[f"{which}_p99_ms"]) for which in ("observed", "current", "candidate")),
        ]
        for one in found["by_load"]
    ]
    return table(head, rows, [True] * len(head))


def _shown(figure: Mapping[str, float | None] | None) -> str:
    if figure is None:
        return "-"
    return _ms(figure["value"]) + ("" if figure["low"] is None else f" ({figure['low']:.1f}-{figure['high']:.1f})")


def _changed(figure: Mapping[str, Any], above: str, below: str) -> str:
    """By how much, in the word of its sign; numbers of the interval that are negative are of the other word."""
    word, sign = (above, 1.0) if figure["value"] >= 0 else (below, -1.0)
    ends = [] if figure["low"] is None else sorted((sign * figure["low"], sign * figure["high"]))
    between = f" ({ends[0]:z.1f} to {ends[1]:z.1f})" if ends else ""
    return f"{word} by {sign * figure['value']:z.1f} %{between}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
