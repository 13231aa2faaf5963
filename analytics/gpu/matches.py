"""What a scan of a job's logs hands on: each place where a signature stands."""

from collections.abc import Mapping
from dataclasses import dataclass

from analytics.gpu.log_lines import LogLine
from analytics.gpu.signatures import Signature


@dataclass(frozen=True, slots=True)
class Match:
    """A signature that stands on a line.

    Attributes:
        signature: the rule.
        line: where its text begins.
        captured: the pattern's named groups, for example `xid`, `pci`, `peer_rank`.
    """

    signature: Signature
    line: LogLine
    captured: Mapping[str, str]
