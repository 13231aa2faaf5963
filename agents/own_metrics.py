"""The agent's metrics about itself: their names and meanings, and a page of them in Prometheus text form."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

# Name -> (type, help). Every name stands in docs/reference/agent.md.
METRICS: Final[dict[str, tuple[Literal["counter", "gauge"], str]]] = {
    "tailwatch_agents_info": ("gauge", "1; the labels say which agent and incarnation this is."),
    "tailwatch_agents_records_in_total": ("counter", "Records taken from sources, by stream."),
    "tailwatch_agents_samples_dropped_total": ("counter", "Records or due samples given up, by reason."),
    "tailwatch_agents_source_events_total": ("counter", "What a source counts about itself, by source and event."),
    "tailwatch_agents_source_up": ("gauge", "0 when a source stopped with an error."),
    "tailwatch_agents_sensor_missing": ("gauge", "1 for each sensor this host does not offer at present."),
    "tailwatch_agents_frames_total": ("counter", "Frames handed to the transport, repeats included."),
    "tailwatch_agents_wire_bytes_total": ("counter", "Bytes of frames handed to the transport, repeats included."),
    "tailwatch_agents_spool_bytes": ("gauge", "Bytes of frames not yet acknowledged."),
    "tailwatch_agents_spool_max_bytes": ("gauge", "The spool's cap."),
    "tailwatch_agents_spool_frames": ("gauge", "Frames not yet acknowledged."),
    "tailwatch_agents_backlog_frames": ("gauge", "Frames of ended incarnations that wait, sent at a capped rate."),
    "tailwatch_agents_spool_oldest_age_seconds": ("gauge", "Age of the oldest frame not yet acknowledged, 0 if none."),
    "tailwatch_agents_spool_stuck_frames": ("gauge", "Frames in the spool that cannot be sent, by reason."),
    "tailwatch_agents_spool_merged_frames_total": ("counter", "Frames merged into others because the spool was full."),
    "tailwatch_agents_checkpoints_total": ("counter", "Checkpoints stored."),
    "tailwatch_agents_checkpoint_failures_total": ("counter", "Checkpoints that the spool refused at first."),
    "tailwatch_agents_checkpoint_seconds": ("gauge", "How long the last checkpoint took."),
    "tailwatch_agents_uplink_up": ("gauge", "1 while the transport takes frames."),
    "tailwatch_agents_uplink_failures_total": ("counter", "Errors of the transport."),
    "tailwatch_agents_plan_polls_total": ("counter", "Questions to the API what to run."),
    "tailwatch_agents_plan_failures_total": ("counter", "Such questions without a usable answer, by reason."),
    "tailwatch_agents_plan_age_seconds": ("gauge", "Time since the API last answered, or since the start."),
    "tailwatch_agents_plan_versions": ("gauge", "Versions of queries that run, are refused or have no source here."),
    "tailwatch_agents_reloads_total": ("counter", "Configurations that SIGHUP had read again, by result."),
    "tailwatch_agents_reload_last_refused": ("gauge", "1 when the last of them could not be used."),
    "tailwatch_agents_held_bytes": ("gauge", "About what waits in memory for the next checkpoint."),
    "tailwatch_agents_resident_bytes": ("gauge", "Resident memory of the agent's process, without the sampler."),
    "tailwatch_agents_cpu_seconds_total": ("counter", "CPU time of the agent's process, without the sampler."),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric named in METRICS."""

    metric: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()


def page_of(samples: Iterable[Sample]) -> str:
    """The samples in Prometheus text form, one block per metric."""
    lines: dict[str, list[str]] = {}
    for sample in samples:
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels)
        named = f"{sample.metric}{{{labels}}}" if labels else sample.metric
        lines.setdefault(sample.metric, []).append(f"{named} {sample.value:.17g}")
    blocks = []
    for metric, values in lines.items():
        kind, text = METRICS[metric]
        blocks += [f"# HELP {metric} {text}", f"# TYPE {metric} {kind}", *values]
    return "\n".join(blocks) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
