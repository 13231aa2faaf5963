"""When a profile counts as old: measured against modelled."""

from agents.drift import EPOCHS, Drift


def epochs(drift: Drift, measured: float, modelled: float, times: int) -> list[bool]:
    """So many epochs alike, with a checkpoint in every second one."""
    return [drift.add(2 * measured if at % 2 else 0.0, modelled) for at in range(times)]


def test_what_was_gathered_in_epochs_that_were_left_out_is_no_drift_when_it_is_shipped() -> None:
    drift = Drift(0.25)
    drift.leave_out()
    assert not drift.add(500_000.0, 4_000.0)  # rows drained by the shares before
    assert not any(epochs(drift, 4_000, 4_000, 6 * EPOCHS))


def test_a_change_of_measured_against_modelled_is_a_drift() -> None:
    drift = Drift(0.25)
    assert not any(epochs(drift, 4_000, 4_000, 2 * EPOCHS))
    assert any(epochs(drift, 6_000, 4_000, 2 * EPOCHS))


def test_how_much_of_a_change_is_a_drift_is_a_setting() -> None:
    drift = Drift(0.6)
    assert not any(epochs(drift, 4_000, 4_000, 2 * EPOCHS))
    assert not any(epochs(drift, 6_000, 4_000, 2 * EPOCHS))
    drift.share = 0.25
    assert any(epochs(drift, 6_000, 4_000, 2))
