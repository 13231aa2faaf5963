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
    "tailwatch_agents_series": ("gauge", "Series that a source with a limit knows at present."),
    "tailwatch_agents_series_max": ("gauge", "How many it may know."),
    "tailwatch_agents_series_refused_total": ("counter", "Rows left out because their series was beyond that."),
    "tailwatch_agents_series_offender_rows": ("gauge", "Of those, by name, for the few names that have most."),
    "tailwatch_agents_frames_total": ("counter", "Frames handed to the transport, repeats included."),
    "tailwatch_agents_wire_bytes_total": ("counter", "Bytes of frames handed to the transport, by kind of frame."),
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
    "tailwatch_agents_children_cpu_seconds_total": ("counter", "CPU time of its children: the sampler."),
    "tailwatch_agents_source_lag_rows": ("gauge", "Rows of a file with a pace that were due and are not read yet."),
    "tailwatch_agents_source_lag_bytes": ("gauge", "Bytes of log files that were there and are not read yet."),
    "tailwatch_agents_policy": ("gauge", "1; the label says by which policy the shares are chosen."),
    "tailwatch_agents_state": ("gauge", "1 for the state that the runtime is in, 0 for the others."),
    "tailwatch_agents_breaker": ("gauge", "1 for the state that the breaker is in, 0 for the others."),
    "tailwatch_agents_breaker_trips_total": ("counter", "How often the breaker opened."),
    "tailwatch_agents_epochs_total": ("counter", "Epochs that have ended."),
    "tailwatch_agents_profiles_total": ("counter", "Epochs in which costs were measured."),
    "tailwatch_agents_epoch_cpu_seconds": ("gauge", "CPU of the last epoch, shipping counted where rows came in."),
    "tailwatch_agents_cpu_cores": ("gauge", "CPU of agent and sampler over the last ten epochs, in cores."),
    "tailwatch_agents_budget_cores": ("gauge", "CPU that the agent may take, in cores, and where that comes from."),
    "tailwatch_agents_allowance_seconds": ("gauge", "CPU per epoch for which the runtime chose the shares."),
    "tailwatch_agents_overflowed_rows_total": ("counter", "Records drained because an epoch's CPU was used up."),
    "tailwatch_agents_crowded_rows_total": ("counter", "Records drained because of the bound on memory."),
    "tailwatch_agents_sampled_share": ("gauge", "Share of live records that is taken in; below 1 while sampling."),
    "tailwatch_agents_sampled_out_rows_total": ("counter", "Live records left out by the breaker, by all queries."),
    "tailwatch_agents_proxy_share": ("gauge", "Share of the records that a control proxy sends on, by operator."),
    "tailwatch_agents_query_wire_bytes_per_second": ("gauge", "Bytes handed over, by query, over ten epochs."),
    "tailwatch_agents_predicted_wire_bytes_per_second": ("gauge", "What the model expects of it; none if unprofiled."),
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
        lines.setdefault(sample.metric, []).append(f"{series_of(sample)} {_number(sample.value)}")
    blocks = []
    for metric, values in lines.items():
        kind, text = METRICS[metric]
        blocks += [f"# HELP {metric} {text}", f"# TYPE {metric} {kind}", *values]
    return "\n".join(blocks) + "\n"


def series_of(sample: Sample) -> str:
    """What stands before the value: name and labels."""
    labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels)
    return f"{sample.metric}{{{labels}}}" if labels else sample.metric


def _number(value: float) -> str:
    """The shortest text that reads back as the same number: 0.15, where 17 digits would show 0.14999999999999999."""
    return str(int(value)) if isinstance(value, int) else repr(float(value)).removesuffix(".0")  # NumPy's repr names it


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
