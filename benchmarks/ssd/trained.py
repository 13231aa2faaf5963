"""A model to score with: trained on a small synthetic fleet, as good as any where only time counts."""

from dataclasses import replace
from functools import cache
from time import process_time

from analytics.ssd.features import features
from analytics.ssd.fitting import HORIZONS, train
from analytics.ssd.fleet import simulate
from analytics.ssd.fleet_parameters import FleetParameters
from analytics.ssd.fleet_reference import fleet_references
from analytics.ssd.model import Model

SEED = 12


@cache
def trained(drives: int, horizons: tuple[int, ...] = HORIZONS) -> tuple[Model, int, float]:
    """The model, rows it was trained on, and CPU seconds that its training took."""
    fleet = simulate(replace(FleetParameters(), drives=drives), SEED)
    rows = features(fleet.days, failures=fleet.failures, reference=fleet_references(fleet.days))
    started = process_time()
    model = train(fleet.days, rows, fleet.failures, horizons=horizons, synthetic=True, origin=fleet.synthetic_note)
    return model, len(rows), process_time() - started
