"""What the demo's GPU jobs died of, and what was advised, for the summary."""

import sqlalchemy as sa


def gpu_jobs_line(engine: sa.Engine, since_ns: int) -> str:
    """Failures by reason and advice by decision of what failed since then; "" where nothing did."""
    from store.gpu_failures import failure_counts
    from store.gpu_tables import gpu_advice, gpu_failures

    with engine.connect() as connection:
        counts = failure_counts(connection, since_ns, 2**62)
        found, given = gpu_failures, gpu_advice
        same = (given.c.job == found.c.job) & (given.c.number == found.c.number)
        query = sa.select(given.c.decision, sa.func.count()).select_from(given.join(found, same))
        advice = connection.execute(query.where(found.c.failed_ns >= since_ns).group_by(given.c.decision)).all()
    if not counts:
        return ""
    by_reason: dict[str, int] = {}
    for one in counts:
        name = one.reason or "unknown"
        by_reason[name] = by_reason.get(name, 0) + one.failures
    made_up = sum(one.failures for one in counts if one.synthetic)
    total = sum(by_reason.values())
    what = f"{total:,} failed ({made_up:,} synthetic)" if made_up else f"{total:,} failed"
    reasons = ", ".join(f"{n:,} {name}" for name, n in sorted(by_reason.items(), key=lambda item: (-item[1], item[0])))
    advised = ", ".join(f"{n:,} {decision}" for decision, n in sorted(tuple(row) for row in advice))
    return f"{what}: {reasons}" + (f"; advice: {advised}" if advised else "")
