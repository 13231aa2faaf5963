"""From smartctl to a verdict: an agent reads drives, a collector judges them, dies, and another one goes on."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from store.connect import open_engine, upgrade
from store.errors import UnknownMetricError
from store.windows import Selection, merged
from tests.agents.sources.smartctl_answers import ata, attribute, found, nvme, raid_volume
from tests.system.stack import until

pytestmark = pytest.mark.system

WITHIN_S = 60.0
# The first round of a source begins at a random moment of its first half minute.
AT_ONCE = "import random, sys; random.uniform = lambda low, high: low; from tailwatch.cli import main; sys.exit(main())"
DRIVES = {
    "/dev/sda": ata(attribute(5, "Reallocated_Sector_Ct", 99, 4)),
    "/dev/nvme0": nvme(),
    "/dev/sdb": raid_volume(),
}


class Running:
    """One agent, and collectors that come and go, on one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder / 'tailwatch.db'}"
        upgrade(self.url)
        self.engine = open_engine(self.url)
        self.parts: list[subprocess.Popen[bytes]] = []
        (folder / "answers").mkdir()
        answers = {"--scan": found(*((path, "scsi") for path in DRIVES)), **DRIVES}
        for what, answer in answers.items():
            (folder / "answers" / what.replace("/", "_")).write_text(json.dumps(answer))
        smartctl = folder / "smartctl"
        smartctl.write_text(f'#!/bin/sh\nfor last; do :; done\nexec cat "{folder}/answers/$(echo "$last" | tr / _)"\n')
        smartctl.chmod(0o755)
        config = {
            "data_dir": str(folder),
            "database": {"url": self.url},
            "agent": {
                "id": "agent-1",
                "host": "h",
                "labels": {"rack": "r12"},
                "checkpoint_s": 0.2,
                "epoch_s": 0.1,
                "sources": [{"kind": "smart", "smartctl_path": str(smartctl)}],
            },
            "collector": {"flush_interval_s": 0.2, "jobs": {"drives": {"interval_s": 0.2, "cpu_share": 1}}},
        }
        (folder / "tailwatch.json").write_text(json.dumps(config))

    def start(self, part: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", AT_ONCE, part, "run", "--config", str(self.folder / "tailwatch.json")]
        with (self.folder / f"{part}.log").open("ab") as log:
            self.parts.append(subprocess.Popen(command, stdout=log, stderr=log))
        return self.parts[-1]

    def close(self) -> None:
        for part in self.parts:
            part.kill()
            part.wait()
        self.engine.dispose()

    def drives(self) -> list[dict[str, Any]]:
        """The drives that were judged."""
        with self.engine.connect() as connection:
            rows = connection.execute(sa.text("SELECT * FROM drives WHERE scored_ns IS NOT NULL ORDER BY drive"))
            return [dict(row) for row in rows.mappings()]

    def series(self) -> dict[str, Any]:
        """Drive -> its newest drive_state."""
        now_ns = time.time_ns()
        try:
            with self.engine.connect() as connection:
                asked = Selection("drive_state", now_ns - 900 * 10**9, now_ns + 300 * 10**9, by=("drive",))
                answer = merged(connection, asked)
        except UnknownMetricError:
            return {}
        return {group.labels["drive"]: group.state.answers()[0] for group in answer.groups}

    def logs(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    started = Running(tmp_path)
    yield started
    started.close()


def test_drives_are_read_judged_and_shown_whichever_collector_is_alive(running: Running) -> None:
    running.start("agent")
    collector = running.start("collector")
    # A window of the series is written once: it has the drives that were known by then.
    until(lambda: len(running.drives()) == len(DRIVES) and bool(running.series()), WITHIN_S, "verdicts")
    judged = {row["drive"]: row for row in running.drives()}
    assert (judged["E1"]["node"], judged["E1"]["rack"], judged["E1"]["kind"]) == ("h", "r12", "ata")
    assert len([row for row in judged.values() if "virtual" in row["verdict"]]) == 1
    assert "1 day of history" in judged["E1"]["verdict"]
    assert set(running.series().values()) == {-1}
    collector.kill()
    collector.wait()
    with running.engine.begin() as connection:
        # As if the lease of the dead one had run out.
        connection.execute(sa.text("UPDATE leases SET expires_ns = 0 WHERE name = 'drives'"))
        connection.execute(sa.text("UPDATE drives SET scored_ns = NULL"))
        connection.execute(sa.text("DELETE FROM drive_progress WHERE scope = 'drives scored'"))
    running.start("collector")
    until(lambda: len(running.drives()) == len(DRIVES), WITHIN_S, "verdicts of the next collector")
    again = {row["drive"]: row for row in running.drives()}
    left_out = ("scored_ns",)
    assert [{k: v for k, v in row.items() if k not in left_out} for row in again.values()] == [
        {k: v for k, v in row.items() if k not in left_out} for row in judged.values()
    ]
    assert "failed" not in (running.folder / "collector.log").read_text(), running.logs()
