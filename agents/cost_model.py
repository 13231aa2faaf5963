"""What a query costs per record in CPU and wire bytes, by operator; which shares make fewest bytes for an allowance.

Of one record offered, Q_i = q_1 * ... * q_i reach cut i; a record drained there takes b_i encoded bytes and s_i CPU
seconds to encode, spool and send. So of a record offered, R_i = Q_i b_i bytes and S_i = Q_i s_i seconds are shipped if
it leaves at cut i, and operator i costs Q_{i-1} c_i. Moving it through operator i saves the gain g_i = R_{i-1} - R_i
and costs the net w_i = Q_{i-1} c_i - (S_{i-1} - S_i). Where that is negative, running the operator is the cheaper way.
The last cut is the partial result, whose bytes depend on how many records share a group: `Groups` says how many.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OperatorCosts:
    """One operator, per record that it takes in."""

    cpu_s: float
    selectivity: float


@dataclass(frozen=True, slots=True)
class Groups:
    """Distinct groups among n records, and what one takes on the wire.

    `distinct` is how many there are in all, as far as is known; n records spread evenly meet distinct * (1 - (1 - 1 /
    distinct) ** n) of them. `checkpoint_epochs` is over how many epochs one partial result gathers.
    """

    distinct: float
    group_bytes: float
    group_s: float
    checkpoint_epochs: float


@dataclass(frozen=True, slots=True)
class QueryCosts:
    """One query as it was profiled.

    Attributes:
        records: offered to the first proxy in an epoch.
        operators: row stages, then the aggregate: M of them.
        drained_bytes, drained_s: b_i and s_i for cuts 0..M-1.
        groups: the partial result.
    """

    records: float
    operators: tuple[OperatorCosts, ...]
    drained_bytes: tuple[float, ...]
    drained_s: tuple[float, ...]
    groups: Groups
