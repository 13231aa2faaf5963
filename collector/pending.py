"""What one partition's frames have added since its last flush, in memory.

Everything here is an addition (partials, arrivals) or a newest value (marks, reports, statuses), so it can be thrown
away at any time as long as the position goes back to where the last flush left it.
"""

from collections.abc import Iterable

from collector.series_limit import Refused
from pipeline.gathering import Gathering
from pipeline.manifest import Manifest
from pipeline.partial import Partial
from pipeline.states import LinesState
from store.agent_status import AgentStatus
from store.claims import Counts
from store.fleet import AgentReport
from store.flush import Arrival, DeadLetter, Quarantined
from store.interruptions import Interruption, MissingFrames
from store.registry import RegisteredVersion
from store.series_limit import Refusal


class Pending:
    """The additions of frames taken in since the last flush."""

    def __init__(self) -> None:
        self._gathered: dict[str, Gathering] = {}
        self._arrivals: dict[tuple[int, int, str], dict[str, int]] = {}
        self._reports: dict[tuple[str, str], AgentReport] = {}
        self._statuses: dict[tuple[str, str], AgentStatus] = {}
        self._refusals: dict[tuple[int, str], Refusal] = {}
        self._counts: dict[str, int] = {}
        self.interruptions: list[Interruption] = []
        self.missing: list[MissingFrames] = []
        self.arrived_late: list[MissingFrames] = []
        self.quarantined: list[Quarantined] = []
        self.dead_letters: list[DeadLetter] = []
        self.released: list[int] = []
        self.missing_frames = 0
        self.bytes = 0

    def add_partial(self, version: str, partial: Partial) -> None:
        """Groups to merge into the pages of a version."""
        if not len(partial):
            return
        gathered = self._gathered.get(version) or Gathering(partial.plan)
        gathered.add(partial)
        self._gathered[version] = gathered  # not before: of what could not be added, nothing is pending
        # Text takes a hundred times what a frame of it does, where all ranks of a job write the same.
        self.bytes += sum(state.nbytes for state in partial.states.values() if isinstance(state, LinesState))
        self.count("groups", len(partial))

    def refuse(self, version: RegisteredVersion, agent: str, refused: Refused) -> None:
        """Groups of an agent that the series limit has refused; they are pending nowhere."""
        key, records = (version.query_id, agent), sum(refused.records.values())
        before = self._refusals.get(key)
        self._refusals[key] = Refusal(
            version.query_id,
            version.plan.query,
            agent,
            refused.groups + (before.groups if before else 0),
            records + (before.records if before else 0),
            refused.example,
        )
        self.count("over_series_max", records)

    def add_manifest(self, version_id: int, agent: str, manifest: Manifest) -> None:
        """What an agent says it took in."""
        for window_ns, said in manifest.windows().items():
            self.arrived(
                version_id,
                window_ns,
                agent,
                n_in=said.n_in,
                n_filtered=said.n_filtered,
                n_local=said.n_local,
                n_drained=sum(said.n_drained),
                n_sampled_out=said.n_sampled_out,
                n_dropped=sum(said.n_dropped.values()),
            )

    def arrived(self, version_id: int, window_ns: int, agent: str, **amounts: int) -> None:
        """Records of a window: n_* as the agent says, got_* as they came here."""
        sums = self._arrivals.setdefault((version_id, window_ns, agent), {})
        for name, amount in amounts.items():
            sums[name] = sums.get(name, 0) + amount

    def add_report(self, report: AgentReport) -> None:
        """A heartbeat; only the newest of an incarnation matters."""
        key = (report.agent, report.incarnation)
        held = self._reports.get(key)
        if held is None or report.sent_ns >= held.sent_ns:
            self._reports[key] = report

    def add_status(self, status: AgentStatus) -> None:
        """What an agent's runtime decided; only the newest of an incarnation matters."""
        key = (status.agent, status.incarnation)
        held = self._statuses.get(key)
        if held is None or status.sequence >= held.sequence:
            self._statuses[key] = status

    def count(self, counter: str, amount: int = 1) -> None:
        """Add to one of the partition's cumulative counters."""
        self._counts[counter] = self._counts.get(counter, 0) + amount

    def gathered(self) -> Iterable[Gathering]:
        """The groups, by version."""
        return self._gathered.values()

    def partials(self) -> dict[str, Partial]:
        """One merged partial per version."""
        return {version: gathered.partial() for version, gathered in self._gathered.items()}

    def refusals(self) -> list[Refusal]:
        """What the series limit has refused, per query and agent."""
        return list(self._refusals.values())

    def arrivals(self) -> list[Arrival]:
        """Arrivals in key order."""
        return [
            Arrival(version_id, window_ns, agent, **amounts)
            for (version_id, window_ns, agent), amounts in sorted(self._arrivals.items())
        ]

    def reports(self) -> Iterable[AgentReport]:
        """The newest heartbeat of each incarnation."""
        return self._reports.values()

    def statuses(self) -> list[AgentStatus]:
        """The newest status of each incarnation."""
        return list(self._statuses.values())

    def counts(self) -> Counts:
        """The counters' additions."""
        return Counts(**self._counts)
