"""Settings of the API process: where it listens, what it allows, how much one answer may hold.

Pure msgspec, so that reading a configuration file loads no web framework. An ApiConfig that would let other machines
in without anyone having said so cannot be built: __post_init__ checks files, environment and flags alike.
"""

import ipaddress
from typing import Annotated

import msgspec

from api.errors import UnsafeBindError

_Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
_Limit = Annotated[int, msgspec.Meta(ge=1)]


class PrometheusConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything under `api.prometheus:`; what one query through the Prometheus API may take."""

    #: The longest a query may take, waiting for its turn included; the parameter `timeout` can only shorten it.
    timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    #: Queries that run at the same time; others wait.
    max_concurrent: _Limit = 4
    #: How old a sample may be for an instant selector to still see it.
    lookback_s: Annotated[float, msgspec.Meta(gt=0)] = 300.0
    #: Series that one selector may mean.
    max_series: _Limit = 50_000
    #: Numbers that a query may read, and that any stage of it may hold.
    max_samples: _Limit = 20_000_000
    #: Sketches that a query may read; one that stays apart, not added to others, counts as 16.
    max_sketches: _Limit = 5_000_000


class ApiConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything under `api:` in the configuration file; port 0 takes any free one and logs which.

    Raises:
        UnsafeBindError: `host` is not loopback and `allow_unauthenticated` is not set. Decoding reports it, like any
            other wrong value, as msgspec.ValidationError with its path.
    """

    host: str = "127.0.0.1"
    port: _Port = 8080
    #: Unix socket that gets this API's own request latencies as datagrams; None sends none.
    telemetry_socket: str | None = None
    #: Listen beyond loopback although nobody has to show who they are.
    allow_unauthenticated: bool = False
    #: An agent that has not been heard of for so long is called silent.
    agent_silent_after_s: Annotated[float, msgspec.Meta(gt=0)] = 15.0
    max_steps: _Limit = 11_000
    max_quantiles: _Limit = 32
    #: Labels in `by` plus matchers in `where`.
    max_labels: _Limit = 32
    #: Groups in one answer, counted over all steps.
    max_groups: _Limit = 20_000
    #: Entries on one page of a list.
    max_page: _Limit = 1_000
    #: The Prometheus-compatible API.
    prometheus: PrometheusConfig = PrometheusConfig()

    def __post_init__(self) -> None:
        if not self.allow_unauthenticated and not is_loopback(self.host):
            raise UnsafeBindError(
                f"api.host {self.host} can be reached from other machines, and the API does not ask who is calling; "
                "use 127.0.0.1, or set api.allow_unauthenticated: true if the network itself keeps strangers out"
            )


def is_loopback(host: str) -> bool:
    """True when only this machine can connect to `host`. Names other than localhost count as reachable."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
