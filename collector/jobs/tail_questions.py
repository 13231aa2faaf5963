"""What runs ask, answered from a service's recorded requests: a forecast, a search for a target table, speed-ups.

An answer is a document, and what is to be kept beside it: that is written in the transaction that ends the run, so that
whatever is killed when, a run leaves one profile or one draft, or none.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import sqlalchemy as sa

from analytics.errors import DataError
from analytics.tail.effective import effective_ms
from analytics.tail.forecast_documents import forecast_document
from analytics.tail.learning import LearnedProfile, class_edges, learn_profile
from analytics.tail.policies import Policy, Server, Tpc
from analytics.tail.policy_documents import policy_document, policy_from
from analytics.tail.profile_documents import profile_document
from analytics.tail.recorded_search import search_recorded
from analytics.tail.samples import Samples
from analytics.tail.table_search import Objective
from analytics.tail.what_if import Forecast, Question, edges_for, what_if
from analytics.tail.workloads import ModelledPredictor
from collector.jobs.tail_services import KnownService, known_as, samples_of
from store.tail_batches import RecordedColumns, read_columns
from store.tail_profiles import put_profile
from store.tail_runs import COLLECTOR, RunRow
from store.tail_services import known_service
from store.tail_targets import draft_table

#: What a forecast must promise before a table is drafted that nobody asked for; as the alert advice_ready has it.
LEAST_GAIN_PCT: Final = 10.0
LEAST_GAIN_LOW_PCT: Final = 5.0
MOST_MEAN_CHANGE_PCT: Final = 5.0
# Of the 95 % interval of a normal figure, the part within the 90 % one.
_OF_90: Final = 1.645 / 1.96

Progress = Callable[[float, str], None]
Write = Callable[[sa.Connection, int], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Answer:
    """How a run ended.

    Attributes:
        error: why it is refused, in words.
        write: keeps what is to be kept, given the time; returns what that adds to the document.
    """

    state: Literal["done", "refused"]
    document: dict[str, Any]
    error: str | None = None
    write: Write | None = None


@dataclass(frozen=True, slots=True)
class _Asked:
    """A run with all that answers it."""

    run: RunRow
    service: KnownService
    samples: Samples
    columns: RecordedColumns

    @property
    def about(self) -> dict[str, Any]:
        """What every answer says of the requests that it rests on."""
        request = self.run.request
        return {
            "instance": request.get("instance"),
            "start_ns": max(self.columns.since_ns, int(request["start_ns"])),
            "end_ns": request["end_ns"],
            "requests": len(self.samples),
            "requests_seen": self.columns.requests_seen,
            "profile_version": self.service.profile_version,
        }


def answer(engine: sa.Engine, run: RunRow, most: int, progress: Progress) -> Answer:
    """Answer a run from at most `most` requests, the newest.

    Args:
        progress: told the share done and what comes next; may raise to end it.
    Raises:
        AnalyticsError: it cannot be answered; the message says why, and what to do.
        UnknownServiceError: the service was forgotten meanwhile.
    """
    progress(0.0, "reading requests")
    with engine.connect() as connection:
        service = known_as(connection, known_service(connection, run.service))
        if not service.threads_told:
            raise DataError(
                f"nobody has said how many hardware threads an instance of {run.service} has; set `threads` (and "
                "`workers`, `max_degree`) with its objective"
            )
        start_ns, end_ns = int(run.request["start_ns"]), int(run.request["end_ns"])
        instance = run.request.get("instance")
        columns = read_columns(connection, run.service, start_ns, end_ns, most, instance=instance)
    asked = _Asked(run, service, samples_of(columns), columns)
    return _ANSWERS[run.kind](asked, progress)


def _forecast(asked: _Asked, progress: Progress) -> Answer:
    request, service = asked.run.request, asked.service
    candidate = policy_from(request["candidate"])
    predictor = request.get("predictor")
    question = Question(
        service.policy,
        candidate,
        service.server_now,
        float(request.get("load_multiplier") or 1.0),
        int(request.get("fan_out") or service.settings.fan_out),
        None if predictor is None else ModelledPredictor(**predictor),
        _other_server(service, request),
    )
    found = what_if(asked.samples, question, service.learned, progress=progress)
    version = request.get("table_version")
    words = candidate.name if version is None else f"target table {version}"
    document = forecast_document(found, service.policy) | asked.about | {"advice": _advice(found, words)}
    return Answer("done" if found.answered else "refused", document, _refusals(found))


def _search(asked: _Asked, progress: Progress) -> Answer:
    request, service = asked.run.request, asked.service
    objective = Objective(
        float(request["p999_weight"]), float(request["mean_weight"]), float(request["mean_over_sequential"])
    )
    found = search_recorded(
        asked.samples,
        service.server,
        service.learned or _learned(asked),
        metric=request["metric"],
        width=request.get("width"),
        objective=objective,
        current=service.policy,
        fan_out=service.settings.fan_out,
        progress=progress,
    )
    forecast = found.forecast
    told = forecast_document(forecast, service.policy)
    document = {"table": None, "table_version": None, "forecast": told, **asked.about}
    if found.found is None:
        return Answer("refused", document | {"advice": _advice(forecast, "no target table")}, _refusals(forecast))
    policy: Policy = Tpc(found.found.table)
    searched = {
        "score": found.found.score,
        "evaluations": found.found.evaluations,
        "max_degree": found.max_degree,
        "levels": [{"sequential_load": load, "weight": weight} for load, weight in found.levels],
    }
    document |= {"table": policy_document(policy), **searched, "advice": _advice(forecast, "the target table found")}
    evidence = {"run": asked.run.id, "forecast": document["forecast"], **searched, **asked.about}
    by_itself = asked.run.asked_by == COLLECTOR

    def write(connection: sa.Connection, now_ns: int) -> dict[str, Any]:
        note = request.get("note") or f"found by run {asked.run.id}"
        drafted = draft_table(
            connection,
            service.name,
            policy_document(policy),
            now_ns,
            by=asked.run.asked_by,
            note=note,
            evidence=evidence,
            max_degree=found.max_degree,
        )
        return {"table_version": drafted.version}

    is_wanted = not by_itself or _is_worthwhile(forecast)
    return Answer(
        "done" if forecast.answered else "refused",
        document,
        _refusals(forecast),
        # What does not pass its gates may be tried by somebody who asked for it, as a draft that says so.
        write if is_wanted else None,
    )


def _learn(asked: _Asked, progress: Progress) -> Answer:
    progress(0.3, f"learning speed-ups from {len(asked.samples)} requests")
    learned = _learned(asked)
    # By itself nothing changes what servers are told that run by a target table.
    activate = asked.run.asked_by != COLLECTOR or not asked.service.has_table

    def write(connection: sa.Connection, now_ns: int) -> dict[str, Any]:
        kept = put_profile(connection, asked.service.name, profile_document(learned), now_ns, activate=activate)
        return {"profile_version": kept.version}

    told = {"requests": learned.requests, "explored": learned.explored, "basis": learned.basis, "active": activate}
    return Answer("done", asked.about | told, None, write)


def _learned(asked: _Asked) -> LearnedProfile:
    """Speed-ups from these requests.

    Raises:
        DataError, TooFewDataError: they do not tell them.
    """
    settings, samples = asked.service.settings, asked.samples
    if not len(samples):
        raise DataError(f"no request of {asked.service.name} in this time; send some, or ask about another time")
    threads = asked.service.server.threads
    effective = effective_ms(samples, threads)
    given = asked.run.request.get("class_edges_ms") or settings.class_edges_ms
    edges = class_edges(samples, None if given is None else tuple(given), effective)
    return learn_profile(
        samples,
        threads,
        max_degree=settings.max_degree or int(samples.last_degrees.max()),
        # Forecasts rest on this profile: a class with the policy's threshold inside would tell wrong speed-ups.
        edges_ms=edges_for(asked.service.policy, edges) if given is None else edges,
        effective=effective,
        workers=settings.workers,
    )


_ANSWERS: Final[Mapping[str, Callable[[_Asked, Progress], Answer]]] = {
    "what_if": _forecast,
    "search": _search,
    "learn": _learn,
}


def _other_server(service: KnownService, request: Mapping[str, Any]) -> Server:
    """The candidate's: as the settings have it, as its table has it, as was asked."""
    given = {name: int(request[name]) for name in ("threads", "workers", "max_degree") if request.get(name) is not None}
    return replace(service.with_degrees(request.get("table_max_degree")), **given)


def _refusals(forecast: Forecast) -> str | None:
    return None if forecast.answered else "; ".join(forecast.refusals)


def _advice(forecast: Forecast, candidate: str) -> dict[str, Any]:
    """What the alerts advice_ready and advice_blocked read (tail_alerting.py)."""
    gain, change = forecast.gain_p99_pct, forecast.mean_change_pct
    low = None if gain is None or gain.low is None else gain.value - _OF_90 * (gain.value - gain.low)
    return {
        "candidate": candidate,
        "gain_p99_pct": None if gain is None else gain.value,
        "gain_low_pct": low,
        "mean_change_pct": None if change is None else change.value,
        "failed_gates": {gate.name: gate.text for gate in forecast.gates if not gate.passed},
    }


def _is_worthwhile(forecast: Forecast) -> bool:
    said = _advice(forecast, "")
    gain, low, change = said["gain_p99_pct"], said["gain_low_pct"], said["mean_change_pct"]
    if not forecast.answered or gain is None or low is None or change is None:
        return False
    return bool(gain >= LEAST_GAIN_PCT and low >= LEAST_GAIN_LOW_PCT and change <= MOST_MEAN_CHANGE_PCT)
