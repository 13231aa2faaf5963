"""Names of features: each documented with its unit and window, each known by its columns, and the version they make."""

from pathlib import Path

from analytics.ssd import feature_names
from analytics.ssd.columns import DAYS
from analytics.ssd.feature_names import DESCRIBED, FEATURES, FEATURES_VERSION, RANKED

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "analytics.md"


def documented() -> dict[str, list[str]]:
    """The cells of the row that documents a name, by name."""
    rows = [line.strip("| ").split(" | ") for line in REFERENCE.read_text().splitlines() if line.startswith("| `")]
    return {name.strip("`"): cells for cells in rows for name in cells[0].split(" ")}


def test_every_column_of_a_drive_day_is_documented() -> None:
    assert set(DAYS) - set(documented()) == set()


def test_every_feature_is_documented_with_its_unit_and_window() -> None:
    cells = documented()
    for name, feature in DESCRIBED.items():
        # A few features are called like the column that they are.
        unit, window = cells[name][1], "the day" if feature.window_d == 0 else f"{feature.window_d} d"
        assert unit == feature.unit, name
        assert name in DAYS or cells[name][2] == window, name


def test_features_are_made_of_columns_that_there_are() -> None:
    used = {column for feature in DESCRIBED.values() for column in feature.columns}
    assert used <= set(DAYS)
    assert set(RANKED.values()) <= set(DAYS)


def test_no_feature_looks_back_further_than_the_lookback() -> None:
    assert max(feature.window_d for feature in DESCRIBED.values()) <= feature_names.LOOKBACK_D <= 60


def test_the_version_is_a_hash_of_names_and_revision() -> None:
    assert tuple(DESCRIBED) == FEATURES
    assert feature_names.version_of(feature_names.REVISION, FEATURES) == FEATURES_VERSION
    assert len({feature_names.version_of(1, ("a", "b")), feature_names.version_of(2, ("a", "b"))}) == 2
    assert feature_names.version_of(1, ("a", "b")) != feature_names.version_of(1, ("b", "a"))
