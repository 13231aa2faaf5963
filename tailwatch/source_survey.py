"""Every kind of source and how it is on this host: what is configured, what could be, what keeps either from it.

Each source is looked at in a thread of its own for a limited time: a driver or a network file system may hang.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, Literal

from agents.config import AgentConfig
from agents.errors import SpoolError
from agents.sources.configs import SourceConfig
from agents.sources.configured import source_of
from agents.sources.host_offers import Offer, OfferState, offer_to
from agents.sources.kinds import KINDS, Kind, bounds_of, kind_of
from agents.sources.source import Source
from agents.sources.streams import OPEN_STREAMS, known_streams
from agents.spool_state import spool_state
from pipeline.plan import Plan
from pipeline.schema import Schema
from tailwatch.running_sources import RunningAgent, RunningSource, running_agent

WITHIN_S: Final = 10.0
_HEARTBEAT_S: Final = 10.0

#: Beside those of an offer: running and failed are what a running agent says, idle that no query reads it;
#: available: its entry needs settings that nobody has made yet.
State = Literal["running", "failed", "idle", "available"] | OfferState
#: With one of these, a configured source gives nothing that it should.
FAULTY: Final = frozenset({"failed", "taken", "unusable"})


@dataclass(frozen=True, slots=True)
class SourceState:
    """One entry of the configuration, or a kind that has none.

    Attributes:
        name: as metrics name it; "" where there is no source.
        streams: with their columns; of a kind that feeds any stream, the built-in ones.
        missing: what of it this host does not offer, and why.
        limits: settings that bound it.
        running: what the agent that runs says of it.
    """

    kind: Kind
    configured: bool
    name: str
    streams: Mapping[str, Schema]
    state: State
    found: str
    missing: Mapping[str, str]
    limits: Mapping[str, object]
    running: RunningSource | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """All of it; `heartbeat_s` is how long ago an agent with this spool was alive, None if it is not now."""

    agent: str
    host: str
    metrics_port: int
    answered: str | None
    heartbeat_s: float | None
    sources: Sequence[SourceState]


class _Entry:
    """An entry of a configuration, its kind, and what its source would be."""

    def __init__(self, entry: SourceConfig, config: AgentConfig, plans: Sequence[Plan]) -> None:
        self.entry = entry
        self.kind = kind_of(entry)
        self.make = partial(source_of, entry, config, plans)
        self.streams = _streams_of(self.kind, config)
        self.limits = dict(bounds_of(entry))
        self._asks_api = bool(config.plan_url)
        self._read = {plan.source for plan in plans}

    def asked_for(self, streams: Iterable[str]) -> bool:
        """Whether a query reads one of its streams, or an API may name one that does."""
        return self._asks_api or not self._read.isdisjoint(streams)


def survey(config: AgentConfig, plans: Sequence[Plan], kinds: Sequence[str], within_s: float = WITHIN_S) -> Survey:
    """Look at the sources of these kinds; all of them where none is named."""
    wanted = [kind for kind in KINDS.values() if not kinds or kind.name in kinds]
    running = running_agent(config.metrics_host, config.metrics_port) if config.metrics_port else None
    heartbeat_s = _heartbeat_s(config)
    mine = [_Entry(one, config, plans) for one in config.sources if kind_of(one) in wanted]
    others = [kind for kind in wanted if all(one.kind != kind for one in mine)]
    defaults = [_Entry(kind.config(), config, plans) for kind in others if not kind.needs]  # type: ignore[arg-type]
    offers = _offers([partial(offer_to, one.entry, one.make) for one in (*mine, *defaults)], within_s)
    ours = running if running is not None and running.agent == config.agent_id else None
    alive = heartbeat_s is not None
    found = _once_each(
        [_configured(one, offer, ours, is_alive=alive) for one, offer in zip(mine, offers, strict=False)]
    )
    by_kind = {one.kind: offer for one, offer in zip(defaults, offers[len(mine) :], strict=True)}
    states = {one.kind: _not_configured(one, by_kind[one.kind]) for one in defaults}
    found += [states.get(kind) or _available(kind, _streams_of(kind, config)) for kind in others]
    answered = None if running is None else running.agent
    return Survey(config.agent_id, config.host_name, config.metrics_port, answered, heartbeat_s, found)


def _configured(one: "_Entry", offer: Offer, running: RunningAgent | None, *, is_alive: bool) -> SourceState:
    source = _made(one.make)
    name = "" if source is None else source.name
    streams = one.streams if source is None else dict(source.streams)
    told = None if running is None else running.sources.get(name)
    state: State = offer.state
    found, missing = offer.found, dict(offer.missing)
    if told is not None:
        state = "running" if told.up else "failed"
        # What is in use is in use by the agent itself.
        missing = {what: missing.get(what, "the agent's log says why") for what in told.missing}
        found = ""
    elif state == "taken" and is_alive:
        state, missing, found = "running", {}, "its address is in use, by the agent that runs it seems"
    elif running is not None and state not in FAULTY:
        state, found = "idle", "no query reads it, so the agent that runs has not opened it"
    elif not one.asked_for(streams):
        found = "; ".join(text for text in (found, "no query of the configuration reads it") if text)
    return SourceState(one.kind, True, name, streams, state, found, missing, one.limits, told)


def _once_each(found: list[SourceState]) -> list[SourceState]:
    """An agent takes no two sources of one name."""
    names = [one.name for one in found if one.name]
    twice = {name for name in names if names.count(name) > 1}
    return [
        replace(
            one, state="unusable", missing={"settings": f"{names.count(one.name)} entries for it; keep one of them"}
        )
        if one.name in twice
        else one
        for one in found
    ]


def _not_configured(one: "_Entry", offer: Offer) -> SourceState:
    return SourceState(one.kind, False, "", one.streams, offer.state, offer.found, offer.missing, one.limits)


def _available(kind: Kind, streams: Mapping[str, Schema]) -> SourceState:
    found = f"needs {', '.join(kind.needs)}"
    return SourceState(kind, False, "", streams, "available", found, {}, {})


def _streams_of(kind: Kind, config: AgentConfig) -> dict[str, Schema]:
    schemas = known_streams({name: own for name, own in config.streams.items() if name in OPEN_STREAMS})
    return {stream: schemas[stream] for stream in kind.streams}


def _made(make: Callable[[], Source]) -> Source | None:
    """A source that is only asked for its name; the offer says what keeps it from being made."""
    try:
        return make()
    except Exception:  # noqa: BLE001
        return None


def _offers(looks: Sequence[Callable[[], Offer]], within_s: float) -> list[Offer]:
    """What each look finds, as far as it is found within the time for all of them."""
    late = Offer("unknown", missing={"look": f"no answer within {within_s:g} s"})
    found = [late] * len(looks)

    def run(place: int, look: Callable[[], Offer]) -> None:
        try:
            found[place] = look()
        except Exception as error:  # noqa: BLE001  # whatever it is, the others have their say
            found[place] = Offer("unknown", missing={"look": f"it failed: {type(error).__name__}: {error}"})

    threads = [threading.Thread(target=run, args=one, daemon=True) for one in enumerate(looks)]
    for thread in threads:
        thread.start()
    until_s = time.monotonic() + within_s
    for thread in threads:
        thread.join(max(0.0, until_s - time.monotonic()))
    return list(found)


def _heartbeat_s(config: AgentConfig) -> float | None:
    try:
        state = spool_state(Path(config.spool_path))
    except SpoolError:
        return None
    if state is None or state.heartbeat_ns is None:
        return None
    age_s = (time.time_ns() - state.heartbeat_ns) / 1e9
    return age_s if 0 <= age_s < max(_HEARTBEAT_S, 3 * config.checkpoint_s) else None
