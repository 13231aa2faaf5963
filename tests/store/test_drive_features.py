"""The newest features of a chunk."""

import datetime as dt

import numpy as np
import polars as pl
import sqlalchemy as sa

from store.drive_features import put_features, read_features
from tests.store.drives_world import DAY, noted

ONE_DAY = dt.timedelta(days=1)


def features_of(names: list[str], day: dt.date, seed: int) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    columns = {f"f{i}": pl.Series(random.random(len(names)), dtype=pl.Float32) for i in range(5)}
    return pl.DataFrame({"drive": names, "day": [day] * len(names), "model": ["A1"] * len(names)}).with_columns(
        **columns, never=pl.lit(None, pl.Float32)
    )


def test_the_newest_features_of_a_version_are_given_back_by_number(engine: sa.Engine) -> None:
    names = [f"S{i}" for i in range(9)]
    numbers = noted(engine, names)
    old, new, other = (features_of(names, DAY + n * ONE_DAY, n) for n in range(3))
    with engine.begin() as connection:
        assert read_features(connection, 0, "v1") is None
        put_features(connection, 0, DAY, "v1", old, numbers)
        put_features(connection, 0, DAY + ONE_DAY, "v1", new[::-1], numbers)
        put_features(connection, 0, DAY, "v1", old, numbers)  # late, from a slower writer
        assert read_features(connection, 0, "v2") is None
        found = read_features(connection, 0, "v1")
        assert found is not None
        assert found[0] == DAY + ONE_DAY
        assert found[1].equals(new)
        assert found[1].schema == new.schema
        put_features(connection, 0, DAY, "v2", other, numbers)  # other formulas: whatever the day
        assert read_features(connection, 0, "v1") is None
        found = read_features(connection, 0, "v2")
        assert found is not None
        assert found[1].equals(other)
