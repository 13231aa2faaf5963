"""What drives show when they have failed: real symptom vectors where somebody has them, else drawn from bundled facts.

The real ones are the rows of the SSD failure tickets that Alibaba published (alibaba-edu/dcbrain, Apache-2.0; Han et
al., FAST 2021): failed drives only, 11 models of three vendors. The bundled table (symptom_facts.yaml) holds shares and
quantiles computed from them by `facts_of`, no row of theirs; vectors drawn from it keep which symptoms come together
in a model and how strong each is, not how strengths go together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import yaml

from analytics.errors import DataError
from analytics.ssd.fleet_parameters import SYMPTOM_COLUMNS

IntArray = npt.NDArray[np.int64]

BUNDLED = "bundled facts on 18,375 failed drives"
#: Columns of the tickets' file, in the order of SYMPTOM_COLUMNS.
TICKET_COLUMNS = ("r_5", "r_187", "r_199", "r_program", "r_erase", "r_183", "r_184", "r_197")
#: Attribute 183 of this vendor repeats attribute 5 instead of counting downshifts.
REPEATS_183 = "B"
LEVELS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
FACTS = "symptom_facts.yaml"
DRAWN_WITH = 20_211  # seed of the vectors that stand in for the real ones: there is one set of them


@dataclass(frozen=True, slots=True)
class SymptomVectors:
    """Symptoms of failed drives, one row a drive.

    Attributes:
        origin: where they are from, in words for model cards and tables.
        models: str[n], such as "A1": the vendor's letter and a number.
        values: int64[n, len(SYMPTOM_COLUMNS)], 0 where there is no such symptom.
        reported: model -> bool[len(SYMPTOM_COLUMNS)]: whether such drives count it at all.
    """

    origin: str
    models: npt.NDArray[np.str_]
    values: IntArray
    reported: Mapping[str, npt.NDArray[np.bool_]]

    @property
    def real(self) -> bool:
        """Whether these are vectors of real drives."""
        return self.origin != BUNDLED

    def rows_of(self, model: str) -> IntArray:
        """Numbers of the rows of a model."""
        return np.flatnonzero(self.models == model)

    def sorted_positives(self, column: int) -> IntArray:
        """What stands in a column where it is above 0, ascending."""
        found = self.values[:, column]
        return np.sort(found[found > 0])


def symptoms_from(path: Path | str, count_183_twice: bool = False) -> SymptomVectors:
    """Real vectors from the tickets' file (CSV, also gzipped); rows without any value are left out.

    Args:
        count_183_twice: takes attribute 183 of vendor B for downshifts, although it repeats its attribute 5. Then a
            failing drive of B shows two symptoms where one of the well shows one: a mark that no real drive has. The
            first figures on such fleets were measured so; only comparisons with them should want it.
    Raises:
        DataError: columns are absent, or a cell is no count.
    """
    wanted = {"model": pl.String(), **dict.fromkeys(TICKET_COLUMNS, pl.Float64())}
    try:
        frame = pl.read_csv(path, columns=list(wanted), schema_overrides=wanted)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{Path(path).name} is no file of failure tickets: {error}; wanted {list(wanted)}") from error
    frame = frame.filter(pl.col("r_5").is_not_null())
    if not len(frame):
        raise DataError(f"{Path(path).name} has no row with a value in r_5; wanted the tickets of failed drives")
    told = frame.group_by("model").agg(pl.col(TICKET_COLUMNS).is_not_null().mean())
    reported = {row[0]: np.array(row[1:]) > 0.5 for row in told.sort("model").iter_rows()}
    for model, columns in reported.items():
        if model.startswith(REPEATS_183) and not count_183_twice:
            columns[SYMPTOM_COLUMNS.index("downshift_total")] = False
    models = frame["model"].to_numpy().astype(np.str_)
    values = np.column_stack([frame[name].fill_null(0).to_numpy() for name in TICKET_COLUMNS]).astype(np.int64)
    if (values < 0).any():
        row = int(np.flatnonzero((values < 0).any(axis=1))[0])
        raise DataError(f"{Path(path).name} has a count below 0 for a drive of model {models[row]}; wanted none")
    values *= np.array([reported[model] for model in models])
    origin = f"real symptom vectors of {len(values):,} failed drives"
    if count_183_twice:
        origin += f", attribute 183 of vendor {REPEATS_183} counted beside attribute 5"
    return SymptomVectors(origin, models, values, reported)


@cache
def bundled_symptoms() -> SymptomVectors:
    """Vectors drawn from the bundled facts, always the same: as many of each model as the facts are about."""
    facts = bundled_facts()
    rng = np.random.Generator(np.random.PCG64(DRAWN_WITH))
    models: list[str] = []
    parts: list[IntArray] = []
    reported = {}
    for model, about in facts["models"].items():
        names = [SYMPTOM_COLUMNS.index(name) for name in about["reports"]]
        reported[model] = np.isin(np.arange(len(SYMPTOM_COLUMNS)), names)
        parts.append(_drawn(rng, about, facts["strengths"][model[0]]))
        models += [model] * about["drives"]
    return SymptomVectors(BUNDLED, np.array(models), np.concatenate(parts), reported)


def bundled_facts() -> dict[str, Any]:
    """What symptom_facts.yaml says: models -> drives, reports, patterns; strengths -> vendor -> column -> quantiles."""
    text = files("analytics.ssd").joinpath(FACTS).read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def facts_of(vectors: SymptomVectors) -> dict[str, Any]:
    """The table of facts on vectors, as it is bundled: shares of patterns by model, quantiles of strength by vendor."""
    models: dict[str, Any] = {}
    for model in sorted(vectors.reported):
        rows = vectors.values[vectors.rows_of(model)]
        patterns, counts = np.unique(rows > 0, axis=0, return_counts=True)
        order = np.lexsort((np.arange(len(counts)), -counts))
        models[model] = {
            "drives": len(rows),
            "reports": [name for name, told in zip(SYMPTOM_COLUMNS, vectors.reported[model], strict=True) if told],
            "patterns": {
                " ".join(np.array(SYMPTOM_COLUMNS)[patterns[i]]) or "none": int(counts[i]) for i in order.tolist()
            },
        }
    strengths: dict[str, dict[str, list[int]]] = {}
    for vendor in sorted({model[0] for model in models}):
        of_vendor = vectors.values[np.char.startswith(vectors.models, vendor)]
        strengths[vendor] = {}
        for place, name in enumerate(SYMPTOM_COLUMNS):
            found = of_vendor[:, place]
            if len(found := found[found > 0]):
                strengths[vendor][name] = np.quantile(found, LEVELS, method="inverted_cdf").astype(int).tolist()
    return {"levels": list(LEVELS), "models": models, "strengths": strengths}


def _drawn(rng: np.random.Generator, about: Mapping[str, Any], strengths: Mapping[str, list[int]]) -> IntArray:
    """As many vectors as there were drives: patterns in exactly their shares, strengths between the quantiles."""
    values = np.zeros((about["drives"], len(SYMPTOM_COLUMNS)), np.int64)
    first = 0
    for pattern, count in about["patterns"].items():
        for name in pattern.split() if pattern != "none" else ():
            logs = np.interp(rng.random(count), LEVELS, np.log(strengths[name]))
            values[first : first + count, SYMPTOM_COLUMNS.index(name)] = np.rint(np.exp(logs))
        first += count
    return values
