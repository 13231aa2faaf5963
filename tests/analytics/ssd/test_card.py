"""What a model says of itself."""

from dataclasses import replace

import pytest

from analytics.ssd.card import SYNTHETIC_WARNING, limits
from analytics.ssd.evaluation import evaluate
from tests.analytics.ssd.learning_rows import NAMES, PROTOCOL, learnable, quick_model

pytest.importorskip("xgboost")


def test_a_card_says_what_the_model_is_made_of() -> None:
    text = quick_model().card.markdown()
    rows = learnable()
    assert "a test" in text
    failed = rows.failures.filter(rows.failures["day"] <= rows.days["day"].max()).height
    assert f"{failed} failures" in text
    assert "2026-01-01 to 2026-02-16; 400 drives" in text
    assert "## Within 5 days" in text
    assert "No figures: the protocol was not run." in text
    assert "SYNTHETIC" not in text


def test_the_protocols_figures_stand_on_the_card_beside_the_rule() -> None:
    rows = learnable()
    found = evaluate(rows.days, rows.features, rows.failures, 5, NAMES, PROTOCOL)
    text = replace(quick_model().card, results={"5": found.to_dict()}).markdown()
    aucpr = found.drive.figures["aucpr"]
    assert f"| AUCPR | {aucpr.value:.3f} ({aucpr.low:.3f} to {aucpr.high:.3f}) |" in text
    assert "rule: any symptom grew in 30 days" in text
    assert "shows a symptom (ceiling)" in text
    assert "Shuffled labels" in text


def test_a_model_of_made_up_drives_says_so_first() -> None:
    card = replace(quick_model().card, synthetic=True, limits=limits(9, (7,), synthetic=True, models=2))
    lines = card.markdown().splitlines()
    assert lines[2] == f"**{SYNTHETIC_WARNING}**"
    assert f"- {SYNTHETIC_WARNING}" in lines
