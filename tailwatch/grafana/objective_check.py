"""Objectives against the queries of a configuration: what would only show as an alert that never fires."""

from collections.abc import Sequence
from importlib.util import find_spec

from pipeline.plan import Plan
from tailwatch.errors import ConfigError
from tailwatch.grafana.config import DEFAULT_OBJECTIVES, ObjectiveConfig
from tailwatch.settings import Loaded


def check_objectives(loaded: Loaded, plans: Sequence[Plan]) -> list[str]:
    """Notes about objectives whose metric no query of the configuration makes: a posted one may.

    Raises:
        ConfigError: selectors that cannot be read, metrics that are no sketches, labels that their query has not.
    """
    problems, notes = [], []
    for number, objective in enumerate(loaded.settings.grafana.objectives):
        key = f"grafana.objectives[{number}]"
        place = loaded.places.get(f"{key}.metric")
        where = f"{place}: " if place else ""
        plan = next((plan for plan in plans if any(each.name == objective.metric for each in plan.metrics)), None)
        problems += [f"{where}{key}{fault}" for fault in [*_selector_faults(objective), *_plan_faults(objective, plan)]]
        if plan is None and objective not in DEFAULT_OBJECTIVES:
            notes.append(
                f"{where}{key}: no query here makes {objective.metric}; its rules have no data unless one is posted"
            )
    if problems:
        raise ConfigError(problems)
    return notes


def _selector_faults(objective: ObjectiveConfig) -> list[str]:
    if find_spec("promql_parser") is None:  # an agent's installation has no PromQL, and no use for objectives
        return []
    from api.promql.errors import PromqlError
    from api.promql.parsing import parse

    try:
        parse(f"{objective.metric}{{{objective.selector}}}")
    except PromqlError as error:
        return [f'.selector: {objective.selector!r} are no matchers: {error}; want for example status_class!="4xx"']
    return []


def _plan_faults(objective: ObjectiveConfig, plan: Plan | None) -> list[str]:
    if plan is None:
        return []
    metric = next(each for each in plan.metrics if each.name == objective.metric)
    faults = []
    if metric.function != "sketch":
        faults.append(f".metric: {metric.name} is a {metric.function}; an objective needs a metric of sketch(…)")
    faults += [
        f".by: {metric.name} has no label {label}; it has {', '.join(plan.labels) or 'none'}"
        for label in objective.by
        if label not in plan.labels
    ]
    return faults
