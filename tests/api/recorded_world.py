"""Services as tests know them: `search` with a table in use and one taken back, `ads` with nothing but requests."""

from typing import Any

import numpy as np
import sqlalchemy as sa

from analytics.tail.learning import LearnedProfile
from analytics.tail.policies import TargetTable, Tpc
from analytics.tail.policy_documents import policy_document
from analytics.tail.profile_documents import profile_document
from analytics.tail.speedup import SpeedupProfile
from store.connect import open_engine, upgrade
from store.tail_batches import add_batch
from store.tail_profiles import put_profile
from store.tail_services import ServiceSettings, put_service
from store.tail_targets import activate_table, draft_table, roll_back_table
from tests.api.world import NOW_NS, SECOND_NS
from tests.store.tail_world import requests

POLICY = policy_document(Tpc(TargetTable("threads_and_queue", 4.0, (40.0, 60.0, 90.0))))
OTHER = policy_document(Tpc(TargetTable("in_system", 3.0, (50.0, 80.0))))


def profile() -> dict[str, Any]:
    """Of two classes and degrees up to 3."""
    table = np.array([[1.0, 1.1, 1.2], [1.0, 1.8, 2.5]])
    counts = np.full((2, 3), 500)
    learned = LearnedProfile(
        SpeedupProfile((30.0,), table), counts, table * 0.95, table * 1.05, np.zeros((2, 3), bool), 3_000, 30, "cpu"
    )
    return profile_document(learned)


def add_services(connection: sa.Connection) -> None:
    begin_ns = NOW_NS - 60 * SECOND_NS
    add_batch(connection, "search", "a", "1", requests(200, 1, begin_ns), NOW_NS)
    add_batch(connection, "ads", "b", "1", requests(20, 2, begin_ns), NOW_NS, synthetic=True)
    put_service(connection, "search", ServiceSettings(target_ms=80.0, threads=12, workers=24), NOW_NS, by="tests")
    put_profile(connection, "search", profile(), NOW_NS)
    draft_table(connection, "search", POLICY, NOW_NS, by="tests", note="found by a search", evidence={"gain": 0.2})
    activate_table(connection, "search", 1, NOW_NS, by="tests")
    draft_table(connection, "search", OTHER, NOW_NS, by="tests")
    activate_table(connection, "search", 2, NOW_NS, by="tests")
    roll_back_table(connection, "search", 2, NOW_NS, by="tests", note="slower")


def filled_services(url: str) -> None:
    upgrade(url)
    engine = open_engine(url)
    with engine.begin() as connection:
        add_services(connection)
    engine.dispose()
