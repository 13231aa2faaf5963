"""What a full run found, in a few sentences, from its saved results: the page says what its tables say.

A workload has no split to be found where draining costs more than the whole local chain; else the sentences say what
splitting was worth at each budget that any policy keeps.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Rows = Sequence[Mapping[str, Any]]


def found(content: Mapping[str, Any]) -> list[str]:
    """Markdown: a bullet per workload, then what concerns all; only of tables that are there."""
    tables: dict[str, Rows] = {table["name"]: table["rows"] for table in content["tables"]}
    lines = [
        _of_workload(costs, [row for row in tables.get("outcome", ()) if row["workload"] == costs["workload"]])
        for costs in tables.get("costs", ())
    ]
    feasible = {(row["workload"], row["budget"]) for row in tables.get("outcome", ()) if row["feasible"] == "yes"}
    free = [row for row in tables.get("free_draining", ()) if (row["workload"], row["budget"]) in feasible]
    for rows, sentence in (
        (tables.get("throughput"), _throughput), (tables.get("collectors"), _collectors), (free, _free),
    ):  # fmt: skip
        if rows:
            lines.append(sentence(rows))
    return ["**What was found**", "", *(f"- {line}" for line in lines), ""] if lines else []


def _of_workload(costs: Mapping[str, Any], outcome: Rows) -> str:
    ratio, bytes_ratio = costs["ratio"], costs["drained_bytes"] / costs["local_bytes"]
    text = (
        f"*{costs['workload']}*: draining costs {ratio:.2f} times the CPU of the whole local chain "
        f"({costs['drained_us']:.2f} against {costs['local_us']:.2f} us a record) and ships {bytes_ratio:,.0f} times "
        f"its bytes. "
    )
    if ratio >= 1:
        text += "So all local is both cheapest and smallest, and there is no split to be found. "
    else:
        text += f"The least budget that a fixed policy keeps is {costs['least']:.0f} %; above it there is a choice. "
    beyond = [f"{row['budget']:.0f}" for row in outcome if row["feasible"] == "no"]
    within = [row for row in outcome if row["feasible"] == "yes"]
    if beyond:
        text += f"Infeasible budgets: {', '.join(beyond)} %. "
    if within:
        text += "Adaptive's bytes beside the best other policy that keeps to the budget: "
        text += ", ".join(_beside(row) for row in within) + ". "
        gains = ", ".join(
            f"{row['gain']:.2f} at {row['budget']:.0f} % (closed form {_number(row['closed'])})"
            for row in within
            if ratio < 1 and row["gain"] is not None
        )
        text += f"Best-op's bytes by adaptive's: {gains}. " if gains else ""
    return text.strip()


def _throughput(rows: Rows) -> str:
    gains = [
        f"{row['over']:.2f} times {'without a limit' if row['link'] == 'no limit' else 'at ' + row['link']}"
        for row in rows
        if row["policy"] == "adaptive"
    ]
    return (
        "*Throughput* at 40 % of the CPU, log analytics, adaptive beside the best other, by the part of the raw "
        f"records that the link carries: {', '.join(gains)}. Without a limit the cheapest split is best, and it splits "
        "no records."
    )


def _collectors(rows: Rows) -> str:
    gains = [
        f"{row['over']:.2f} ({row['workload']})"
        for row in rows
        if row["policy"] == "adaptive" and row["feasible"] == "yes"
    ]
    return f"*Agents that a collector sustains* at 60 %, by those under best-op: {', '.join(gains) or 'no feasible'}."


def _free(rows: Rows) -> str:
    used = {model: [row["cpu"] for row in rows if row["model"] == model] for model in ("free", "net")}
    free, net = (f"{min(used[model]):.2f} to {max(used[model]):.2f}" for model in ("free", "net"))
    return (
        "*Draining taken to be free*, as the paper's model takes it: at feasible budgets the shares chosen so take "
        f"{free} times the budget; those that reckon with what it costs, {net}."
    )


def _beside(row: Mapping[str, Any]) -> str:
    if row["ratio"] is None:
        return f"at {row['budget']:.0f} % it takes more than the budget, {row['best']} does not"
    return f"{row['ratio']:.2f} at {row['budget']:.0f} % ({row['best']})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
