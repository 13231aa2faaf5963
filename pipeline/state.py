"""What every aggregate's state can do, and how a metric describes the states it has.

A state is a column: one entry per group, all arrays parallel. States are values: no method changes one in place, so
arrays may be shared. `reduce` is commutative and associative, which is what lets records be split anywhere.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.grouping import Grouping
from pipeline.ragged import Column, Columns

IntArray: TypeAlias = npt.NDArray[np.int64]
FloatArray: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]


class Described(Protocol):
    """The part of a metric that states need: `plan.Metric` has it, and so may a row of a registry."""

    @property
    def integer(self) -> bool:
        """Whether the values are int64, not float64."""

    @property
    def scale(self) -> int:
        """Scale of sketches."""


class State(ABC):
    """The state of one aggregate for n groups."""

    __slots__ = ()

    @abstractmethod
    def __len__(self) -> int:
        """Number of groups."""

    @abstractmethod
    def take(self, indices: IntArray) -> Self:
        """The states at these positions, in this order."""

    @staticmethod
    @abstractmethod
    def concat(states: Sequence["State"]) -> "State":
        """States of one kind, one behind the other; at least one.

        Raises:
            StateError, IncompatibleSketchError: they are not of one kind.
        """

    @abstractmethod
    def reduce(self, groups: IntArray, n_groups: int) -> Self:
        """Merges the states of each group, codes 0..n_groups-1; a group without states has no values."""

    @staticmethod
    @abstractmethod
    def columns(metric: Described, prefix: str) -> dict[str, pl.DataType]:
        """Names and types of `to_columns`."""

    @abstractmethod
    def to_columns(self, prefix: str) -> dict[str, Column]:
        """Flat columns `<prefix>.<part>`; NULL where a group had no value."""

    @classmethod
    @abstractmethod
    def from_columns(cls, metric: Described, prefix: str, columns: Columns) -> Self:
        """The states in columns of the types that `columns` names.

        Raises:
            StateError: values that `to_columns` does not write.
        """

    @abstractmethod
    def to_bodies(self) -> tuple[bytes, IntArray]:
        """(bodies one behind the other, their lengths int64[n]); equal states have equal bytes."""

    @classmethod
    @abstractmethod
    def from_bodies(cls, metric: Described, buffer: bytes | memoryview, lengths: IntArray) -> Self:
        """The states in bodies.

        Raises:
            StateError: bytes that `to_bodies` does not write for this metric.
        """

    @abstractmethod
    def answers(self) -> list[int | float | None]:
        """What the aggregate's name promises, per group; None without values. Those of no number answer a count."""


class ValueState(State):
    """The state of an aggregate over values, whenever they were measured."""

    __slots__ = ()

    @classmethod
    @abstractmethod
    def from_values(cls, metric: Described, values: pl.Series | None, groups: Grouping) -> Self:
        """One state per group from one value per row; NULLs are skipped. None: count(*)."""
