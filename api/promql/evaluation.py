"""One evaluation under way: its instants, its source, its limits, and what it has to say besides the answer."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from api.promql.limits import Limits
from api.promql.samples import Float64Array, Interrupt, Source
from api.promql.tree import Node
from api.promql.values import Grid, Scalar, TextValue, Value, Vector


@dataclass(slots=True)
class Evaluation:
    """What every part of the evaluator is given.

    end_ns: what `@ end()` means: the end of the query's range, which need not be one of its instants.
    rule: how a node becomes a value; evaluate.py brings it, so that the parts need not import each other.
    sketch_quantiles: the calls of quantile_over_time that met sketches, by id; see percentile_misuse.py.
    """

    grid: Grid
    end_ns: int
    source: Source
    limits: Limits
    interrupt: Interrupt
    rule: Callable[["Evaluation", Node], Value]
    warnings: list[str] = field(default_factory=list)
    infos: list[str] = field(default_factory=list)
    sketch_quantiles: set[int] = field(default_factory=set)

    def value(self, node: Node) -> Value:
        """The node's value at all instants."""
        self.interrupt()
        return self.rule(self, node)

    def vector(self, node: Node) -> Vector:
        """The value of a node that the grammar knows to be a vector."""
        value = self.value(node)
        if not isinstance(value, Vector):
            raise TypeError(f"{node} is no vector")
        return value

    def scalar(self, node: Node) -> Float64Array:
        """The values of a node that the grammar knows to be a scalar, float64[count]."""
        value = self.value(node)
        if not isinstance(value, Scalar):
            raise TypeError(f"{node} is no scalar")
        return value.values

    def text(self, node: Node) -> str:
        """The value of a node that the grammar knows to be a string."""
        value = self.value(node)
        if not isinstance(value, TextValue):
            raise TypeError(f"{node} is no string")
        return value.value

    def same(self, number: float) -> Scalar:
        """One number for all instants."""
        return Scalar(np.full(self.grid.count, number))

    def warn(self, sentence: str) -> None:
        """Notes a warning, once."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)

    def inform(self, sentence: str) -> None:
        """Notes something worth knowing, once."""
        if sentence not in self.infos:
            self.infos.append(sentence)
