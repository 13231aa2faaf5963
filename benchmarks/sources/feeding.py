"""A source read to its end into one query, as an agent does it but for shipping: all sources are measured with this."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from agents.executor import Executor
from agents.sources.source import Source
from pipeline.partial import Partial
from pipeline.plan import Plan
from pipeline.sketch_state import SketchState

#: By label: how many values there were, and their p99.
Answer: TypeAlias = Mapping[str, tuple[int, float]]


def fed(source: Source, plan: Plan, is_over: Callable[[], bool]) -> Partial:
    """All that the source has until `is_over`, through the whole chain; the source is opened and closed here."""
    executor = Executor([plan], {}, "host")
    source.open(None)
    try:
        while True:
            for batch in source.poll():
                executor.add(batch)
            if is_over():
                break
    finally:
        source.close()
    return Partial.merge([partial for delta in executor.take() for partial in delta.partials])


def answer_of(partial: Partial, metric: str) -> Answer:
    """The count and the p99 of a sketch by the plan's only label, over all windows."""
    (label,) = partial.plan.labels
    texts = partial.keys[label]
    names = texts.unique().sort()
    state = partial.states[metric]
    assert isinstance(state, SketchState)
    sketches = state.column.reduce(texts.rank("dense").to_numpy().astype(int) - 1, len(names))
    p99 = sketches.quantiles([0.99])[:, 0]
    pairs = zip(sketches.totals().tolist(), p99.tolist(), strict=True)
    return dict(zip(names.to_list(), pairs, strict=True))
