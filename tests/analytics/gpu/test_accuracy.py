"""Figures of labelled logs, and tables of labels that are read strictly."""

import pytest

from analytics.errors import DataError
from analytics.gpu.accuracy import Judged, accuracy, risk_by_coverage
from analytics.gpu.accuracy_labels import read_labels, repository_of

HEAD = "file,category,reason,source,origin\n"


def judged(reason: str, guess: str | None, answered: bool, confidence: float) -> Judged:
    category = {"gpu_oom": "ai_engine", "gpu_ecc": "infrastructure"}
    return Judged("x", reason, category[reason], guess, category.get(guess or ""), answered, confidence)


LOGS = [
    judged("gpu_oom", "gpu_oom", True, 0.9),
    judged("gpu_oom", "gpu_ecc", True, 0.8),
    judged("gpu_oom", None, False, 0.0),
    judged("gpu_ecc", "gpu_ecc", False, 0.4),
]


def test_figures_agree_with_a_count_by_hand() -> None:
    figures = accuracy(LOGS)
    assert (figures.logs, figures.reason, figures.category, figures.coverage) == (4, 0.5, 0.5, 0.5)
    assert (figures.answered, figures.answered_category) == (0.5, 0.5)
    # gpu_oom: recall 1/3, precision 1; gpu_ecc: recall 1, precision 1/2
    assert figures.macro_f1 == pytest.approx((2 / 4 + 2 / 3) / 2)
    assert figures.confusion == (("gpu_oom", "(nothing found)", 1), ("gpu_oom", "gpu_ecc", 1))


def test_risk_is_told_at_each_coverage() -> None:
    points = [(point.coverage, point.accuracy) for point in risk_by_coverage(LOGS)]
    assert points == [(0.25, 1.0), (0.5, 0.5), (0.75, pytest.approx(2 / 3)), (1.0, 0.5)]


def test_equal_confidences_share_one_point() -> None:
    logs = [judged("gpu_oom", "gpu_oom", True, 0.7), judged("gpu_oom", "gpu_ecc", True, 0.7)]
    assert [(point.coverage, point.accuracy) for point in risk_by_coverage(logs)] == [(1.0, 0.5)]


def test_no_log_gives_no_figures() -> None:
    with pytest.raises(ValueError, match="no labelled log"):
        accuracy([])


def test_labels_are_read_with_columns_to_spare() -> None:
    (label,) = read_labels(HEAD + "a.log,user,semantic_error,https://github.com/Org/Repo/issues/7,x\n", "labels.csv")
    assert (label.file, label.reason, label.category) == ("a.log", "semantic_error", "user")
    assert repository_of(label.source) == "github.com/org/repo"


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("file,reason\n", "no column category, source"),
        ("", "no column file"),
        (HEAD, "has no row"),
        (HEAD + "a.log,user,,s,x\n", "line 2: reason is empty"),
        (HEAD + "a.log,users,gpu_oom,s,x\n", "line 2: category 'users'"),
        (HEAD + "a.log,user,gpu_oom,s,x\na.log,user,gpu_oom,s,x\n", "line 3: a.log stands twice"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_its_place(table: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_labels(table, "labels.csv")


def test_sources_of_one_repository_are_one() -> None:
    assert repository_of("https://github.com/a/b/pull/3") == repository_of("github.com/A/B#x") == "github.com/a/b"
    assert repository_of(" a list, by mail ") == "a list, by mail"
