"""Attempts for tests, made of the few fields that each of them is about."""

from analytics.gpu.attempts import Attempt, Outcome

HOUR_NS = 3600 * 10**9
START_NS = 1_767_225_600 * 10**9  # 2026-01-01


def attempt(
    number: int = 1,
    reason: str = "nccl_timeout",
    hours: float = 1.0,
    outcome: Outcome = "failed",
    *,
    job: str = "job-1",
    nodes: tuple[str, ...] = (),
    gpus: float = 8.0,
    template: str = "",
    user: str = "",
    at_h: float | None = None,
) -> Attempt:
    """One that began `at_h` hours after START_NS, by default 100 hours for each attempt before it."""
    start_ns = START_NS + round((100.0 * (number - 1) if at_h is None else at_h) * HOUR_NS)
    end_ns = None if outcome == "running" else start_ns + round(hours * HOUR_NS)
    return Attempt(
        job, number, user, "", nodes, gpus, start_ns, start_ns, end_ns, outcome, reason=reason, template=template
    )


def failing(count: int, reason: str = "nccl_timeout", hours: float = 1.0, **more: object) -> list[Attempt]:
    """A chain of so many failures of one root."""
    return [attempt(number, reason, hours, **more) for number in range(1, count + 1)]  # type: ignore[arg-type]
