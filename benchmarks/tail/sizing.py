"""How much is measured: a full run, or a quick one that touches everything."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizing:
    """Amounts of work.

    Attributes:
        requests, seeds: of a policy at a load, and runs of these.
        rate_requests: through the compiled simulator in one measured run; slow_requests: through the peers'.
        rounds: of measured runs.
        recorded: requests of a recording that is asked about: two millions are one to two hours of one server.
        told: requests of a recording that causes are told of.
        loads: that recordings are made at. shares: of their requests on a degree by chance. draws: for intervals of
            a forecast.
        serve_s: seconds of each real stretch. serve_rounds: of them for each policy.
    """

    quick: bool
    requests: int
    seeds: int
    rate_requests: int
    slow_requests: int
    rounds: int
    recorded: int
    told: int
    loads: tuple[float, ...]
    shares: tuple[float, ...]
    draws: int
    serve_s: float
    serve_rounds: int


FULL = Sizing(
    quick=False,
    requests=400_000,
    seeds=4,
    rate_requests=1_000_000,
    slow_requests=20_000,
    rounds=5,
    recorded=2_000_000,
    told=1_000_000,
    loads=(0.3, 0.6, 0.8),
    shares=(0.01,),
    draws=8,
    serve_s=20.0,
    serve_rounds=6,
)
QUICK = Sizing(
    quick=True,
    requests=20_000,
    seeds=1,
    rate_requests=100_000,
    slow_requests=2_000,
    rounds=1,
    recorded=30_000,
    told=30_000,
    loads=(0.6,),
    shares=(0.05,),
    draws=3,
    serve_s=1.5,
    serve_rounds=1,
)
