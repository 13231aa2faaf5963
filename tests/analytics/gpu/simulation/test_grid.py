"""The grid of simulated worlds, and what its worst cell says."""

import json
import math

import pytest

from analytics.gpu.simulation.grid import SIMULATED_NOTE, Simulation, run_grid
from analytics.gpu.simulation.parameters import GRID, World

WORLDS = (World(0.0, 0.5, 0.9), World(0.5, 1.0, 0.6))


@pytest.fixture(scope="module")
def found() -> Simulation:
    return run_grid(250, 0, WORLDS)


def test_the_worst_cell_is_the_one_that_saves_least(found: Simulation) -> None:
    saved = [cell.saved_pct("always") for cell in found.cells]
    assert found.worst("always").saved_pct("always") == min(saved)
    assert found.latest("never").sooner_pct("never") == min(cell.sooner_pct("never") for cell in found.cells)
    assert found.cells[0].saved_pct("model") == 0.0


def test_advice_wastes_less_than_always_retrying_and_hardly_more_than_never(found: Simulation) -> None:
    assert found.worst("always").saved_pct("always") > 0
    for cell in found.cells:
        assert cell.results["model"].retries_in_vain < cell.results["always"].retries_in_vain
        assert cell.results["never"].failed_gpu_h <= cell.results["model"].failed_gpu_h * 1.2


def test_the_same_seed_gives_the_same_figures(found: Simulation) -> None:
    assert run_grid(250, 0, WORLDS[:1]).cells[0] == found.cells[0]


def test_everything_says_that_it_is_simulated(found: Simulation) -> None:
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["simulated"] is True
    assert document["note"] == SIMULATED_NOTE
    assert [cell["load"] for cell in document["cells"]] == [0.9, 0.6]
    assert document["worst"]["always"]["saved_pct"] == found.worst("always").saved_pct("always")


def test_the_grid_varies_all_that_nobody_knows() -> None:
    assert len(set(GRID)) == len(GRID) == 16
    assert {world.repeat for world in GRID} >= {0.0}
    assert all(0 <= world.repeat < 1 and 0 < world.persistence <= 1 and 0 < world.load < 1 for world in GRID)


def test_few_jobs_make_figures_too() -> None:
    (cell,) = run_grid(10, 0, [World(0.0, 1.0, 0.6)]).cells
    assert cell.results["never"].retries == 0
    assert all(math.isnan(figure) or 0 <= figure <= 1 for figure in cell.figures().values())
