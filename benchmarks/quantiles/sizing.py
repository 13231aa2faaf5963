"""How much is measured: a full run, or a quick one that touches everything in under a minute."""

from dataclasses import dataclass

BATCH = 100_000  # values per call of add, unless a table says otherwise


@dataclass(frozen=True, slots=True)
class Sizing:
    """Amounts of work.

    Attributes:
        share: of Method.most_values.
        merged_values: in each of the sketches that the merging tables merge.
        merged_sets: data sets of the merging tables.
        accurate_n: how many values the accuracy table adds, one size after the other.
    """

    quick: bool
    rounds: int
    share: float
    least_s: float
    merged_values: int
    merged_sets: tuple[str, ...]
    grouped_values: int
    accurate_n: tuple[int, ...]
    seeds: int

    def values_for(self, most: int) -> int:
        """How many values a method with this limit gets."""
        return max(2_000, int(most * self.share))


FULL = Sizing(
    quick=False, rounds=5, share=1.0, least_s=0.02, merged_values=10_000,
    merged_sets=("NetMon-like", "Pareto", "bimodal"), grouped_values=1_000_000,
    accurate_n=(1, 2, 3, 10, 1_000, 100_000, 1_000_000), seeds=20,
)  # fmt: skip
QUICK = Sizing(
    quick=True, rounds=3, share=0.05, least_s=0.0, merged_values=1_000, merged_sets=("NetMon-like",),
    grouped_values=50_000, accurate_n=(1, 3, 1_000, 20_000), seeds=3,
)  # fmt: skip
