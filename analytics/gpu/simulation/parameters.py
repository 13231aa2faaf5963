"""What the simulated cluster is like: the frozen numbers of the generator in jobs.py.

Facts are those of the Philly study (Jeon et al., USENIX ATC 2019: failures by reason; users and quantiles of the run
time to failure, RTF) and of the summary that the AcmeTrace data give of Philly's jobs. What no publication tells is
marked ASSUMED. Changing a number changes every figure that was ever simulated, so a test pins their digest.
"""

import hashlib
from dataclasses import dataclass, fields
from typing import Final


@dataclass(frozen=True, slots=True)
class FailureKind:
    """One row of the table of failures.

    Attributes:
        reason: as the taxonomy names it; "" where no signature matched.
        trials: failed attempts. rtf_share_pct: their share of all run time to failure. jobs: that failed so.
        users: that had it.
        rtf_min: minutes to failure at the quantiles .5, .9 and .95.
        demand: failed attempts on 1, on 2 to 4 and on more than 4 GPUs.
    """

    reason: str
    trials: int
    rtf_share_pct: float
    jobs: int
    users: int
    rtf_min: tuple[float, float, float]
    demand: tuple[int, int, int]


_KIND = FailureKind
#: The table; its two rows of 3 and 1 trials, without quantiles, are left out. Demand of the last is that of all others.
PHILLY: Final = (
    _KIND("cpu_oom", 12_076, 6.62, 2_803, 65, (13.45, 17.73, 33.97), (11_465, 235, 376)),
    _KIND("incorrect_inputs", 9_690, 30.43, 4_936, 208, (1.87, 404.83, 2095.73), (5_844, 2_638, 1_208)),
    _KIND("semantic_error", 2_943, 9.22, 2_049, 159, (2.72, 376.0, 1436.88), (1_603, 494, 846)),
    _KIND("core_dump", 2_912, 3.35, 1_784, 122, (0.85, 72.75, 431.65), (1_936, 496, 480)),
    _KIND("illegal_mem_access", 2_602, 3.82, 1_235, 108, (1.03, 403.5, 1357.38), (712, 774, 1_116)),
    _KIND("model_ckpt_error", 1_995, 21.73, 948, 85, (181.67, 3728.93, 8196.02), (743, 384, 868)),
    _KIND("cuda_unknown", 1_484, 0.62, 571, 70, (1.32, 19.87, 82.17), (133, 1_153, 198)),
    _KIND("syntax_error", 1_132, 0.19, 883, 110, (0.58, 5.02, 12.0), (780, 184, 168)),
    _KIND("uncaught_exception", 777, 2.34, 271, 44, (1.02, 894.33, 1394.07), (356, 277, 144)),
    _KIND("mpi_error", 634, 3.70, 166, 28, (1.62, 3015.27, 5143.98), (456, 54, 124)),
    _KIND("gpu_oom", 487, 1.08, 261, 35, (18.53, 353.62, 2740.28), (237, 70, 180)),
    _KIND("mpi_runtime_failure", 478, 14.63, 420, 96, (1389.48, 13778.6, 18090.88), (240, 141, 97)),
    _KIND("permission_error", 299, 0.07, 151, 37, (1.0, 8.15, 15.85), (56, 202, 41)),
    _KIND("import_error", 148, 0.06, 148, 41, (0.67, 4.58, 10.73), (108, 30, 10)),
    _KIND("job_preempted", 147, 1.66, 95, 34, (559.08, 2682.85, 5892.23), (25, 95, 27)),
    _KIND("cuda_init_failed", 141, 0.03, 69, 20, (1.08, 2.18, 4.63), (16, 66, 59)),
    _KIND("model_diverged", 84, 0.01, 30, 5, (1.48, 44.37, 76.53), (78, 5, 1)),
    _KIND("cuda_version_mismatch", 49, 0.0, 49, 19, (0.83, 1.65, 1.67), (1, 1, 47)),
    _KIND("gpu_ecc", 10, 0.03, 10, 2, (26.82, 671.92, 2035.02), (1, 5, 4)),
    _KIND("", 1_684, 0.42, 698, 94, (1.87, 28.0, 95.17), (24_790, 7_304, 5_994)),
)


@dataclass(frozen=True, slots=True)
class ClusterParameters:
    """The cluster, its jobs, and what becomes of jobs that are handed back.

    Attributes:
        kinds: of failures.
        jobs_in_all: of the study, of which those in `kinds` failed at least once.
        run_median_s, run_mean_s: run time of a job, lognormal. ASSUMED: a job that fails would have run for such a time
            beyond its failure. (Drawing its whole run time from what lies above its RTF instead would make the mean of
            all jobs' run times 2.5 times the published one; so it is 1.2 times that.)
        longest_days: no run takes longer than the study's trace is long.
        shortest_share: ASSUMED shortest RTF of a kind, as a share of its median.
        sizes: GPUs of jobs in the three classes of demand, evenly (ASSUMED within 2 to 4 and above 4).
        gpus: ASSUMED size of the cluster.
        handback_h: ASSUMED median and spread (sigma of the lognormal) of the hours until a job that was handed back
            comes again.
        passing_h: ASSUMED hours that a waiting job lets smaller ones pass.
        attempts: ASSUMED ceiling for all policies; the study only says that it is a fixed number.
    """

    kinds: tuple[FailureKind, ...] = PHILLY
    jobs_in_all: int = 96_260
    run_median_s: float = 874.0
    run_mean_s: float = 18_006.0
    longest_days: float = 137.0
    shortest_share: float = 0.1
    sizes: tuple[tuple[int, ...], ...] = ((1,), (2, 4), (8, 16))
    gpus: int = 256
    handback_h: tuple[float, float] = (8.0, 1.0)
    passing_h: float = 1.0
    attempts: int = 4

    def digest(self) -> str:
        """sha256 over names and values: the same for the same cluster on every machine."""
        text = "\n".join(f"{each.name}={getattr(self, each.name)!r}" for each in fields(self))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class World:
    """One cell of the grid: what nobody knows, varied.

    Attributes:
        repeat: how much more often failures repeat than trials per job tell: a kind repeats with probability
            r + repeat * (1 - r), r = 1 - jobs / trials. That is a lower bound, since jobs are also given up.
        persistence: share of the repetitions that come from a cause which stays until somebody mends it; the others
            are chance, at every attempt anew, mended or not.
        load: GPU time that jobs need even if nothing is retried in vain, over what the cluster has.
    """

    repeat: float
    persistence: float
    load: float

    def chances(self, kind: FailureKind) -> tuple[float, float]:
        """Probability that a job's failure stays until mended, and that an attempt fails so by chance otherwise."""
        r = 1 - kind.jobs / kind.trials
        r += self.repeat * (1 - r)
        stays = self.persistence * r
        return stays, (r - stays) / (1 - stays) if stays < 1 else 0.0


#: All cells that the worst case is taken from.
GRID: Final = tuple(
    World(repeat, persistence, load)
    for repeat in (0.0, 0.25, 0.5, 0.75)
    for persistence in (0.5, 1.0)
    for load in (0.6, 0.9)
)
