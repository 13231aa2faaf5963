"""Settings of the API process: where it listens, what it allows, how much one answer may hold.

Pure msgspec, so that reading a configuration file loads no web framework. An ApiConfig that would let other machines
in unasked without anyone having said so cannot be built: __post_init__ checks files, environment and flags alike.
"""

import ipaddress
from typing import Annotated, Literal

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


class GpuConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything under `api.gpu:`; what classifying an uploaded log may take."""

    #: A site's own signatures on top of the shipped ones, as for the collectors' job; "": none.
    rules_path: str = ""
    #: Of one log, unpacked; it is read while it comes, so this bounds time and not memory.
    max_log_bytes: _Limit = 2**30
    #: Logs that are read at the same time; others wait for a moment, then are a 503.
    max_concurrent: _Limit = 2
    #: The longest that a log may take to come and to be read.
    timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 300.0


class ServicesConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything under `api.services:`; what questions about services' tails may take."""

    #: Recorded requests that one answer about causes looks at, the newest of its stretch; some 400 bytes each.
    max_requests: _Limit = 500_000


class ApiConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything under `api:` in the configuration file; port 0 takes any free one and logs which.

    Raises:
        UnsafeBindError: `host` is not loopback, `auth` is off and `allow_unauthenticated` is not set. Decoding reports
            it, like any other wrong value, as msgspec.ValidationError with its path.
        ValueError: only one of the two TLS files is named.
    """

    host: str = "127.0.0.1"
    port: _Port = 8080
    #: Unix socket that gets this API's own request latencies as datagrams; None sends none.
    telemetry_socket: str | None = None
    #: Whether callers need an API key; auto: unless only this machine can connect, or strangers are allowed.
    auth: Literal["auto", "on", "off"] = "auto"
    #: Listen beyond loopback although nobody has to show who they are.
    allow_unauthenticated: bool = False
    #: Certificate (with its chain) and key in PEM; with both, the API speaks HTTPS only.
    tls_certificate_path: str = ""
    tls_key_path: str = ""
    #: Requests a second that one key (or, without keys, one address) may make for long; 0 is no limit.
    rate_limit_per_s: Annotated[float, msgspec.Meta(ge=0, le=1e9)] = 1_000.0
    #: Requests that it may make at once, after a pause.
    rate_limit_burst: _Limit = 2_000
    #: Sizes of what a request may bring.
    max_body_bytes: _Limit = 8 * 2**20
    max_url_bytes: Annotated[int, msgspec.Meta(ge=256)] = 16_384
    max_header_bytes: Annotated[int, msgspec.Meta(ge=1_024)] = 32_768
    #: An agent that has not been heard of for so long is called silent.
    agent_silent_after_s: Annotated[float, msgspec.Meta(gt=0)] = 15.0
    max_steps: _Limit = 11_000
    max_quantiles: _Limit = 32
    #: Labels in `by` plus matchers in `where`.
    max_labels: _Limit = 32
    #: Groups in one answer, counted over all steps.
    max_groups: _Limit = 20_000
    #: Buckets in one answer, over all groups and steps.
    max_buckets: _Limit = 200_000
    #: Bytes of kept lines in one answer, over all groups and steps; each line counts 64 beside its text.
    max_text_bytes: _Limit = 16 * 2**20
    #: Of stored pages, by estimate, that one answer may be merged from.
    max_read_bytes: _Limit = 2_000_000_000
    #: Reads above 32 MiB that may run at a time; a few more wait for their turn.
    max_heavy_reads: _Limit = 2
    #: After so long a question is ended and answered with 503.
    question_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    #: How large the database may become, for the gauge of that; 0: what the disk of a SQLite file allows, else unknown.
    database_max_bytes: Annotated[int, msgspec.Meta(ge=0)] = 0
    #: Memory for answers from before; 0 keeps none.
    answer_cache_bytes: Annotated[int, msgspec.Meta(ge=0)] = 64_000_000
    #: Entries on one page of a list.
    max_page: _Limit = 1_000
    #: How far ahead a change of a query begins: three poll intervals of the agents.
    valid_from_lead_s: Annotated[float, msgspec.Meta(ge=0)] = 30.0
    #: Columns of the streams that posted queries may read; the command line fills them in, built-in ones included.
    streams: dict[str, dict[str, str]] = {}
    #: The Prometheus-compatible API.
    prometheus: PrometheusConfig = PrometheusConfig()
    #: Logs of GPU jobs.
    gpu: GpuConfig = GpuConfig()
    #: Tails of services whose requests are recorded.
    services: ServicesConfig = ServicesConfig()

    def __post_init__(self) -> None:
        """Refuse what would be open to strangers by accident, and half a TLS."""
        if self.auth == "off" and not self.allow_unauthenticated and not is_loopback(self.host):
            raise UnsafeBindError(
                f"api.host {self.host} can be reached from other machines, and api.auth is off; use 127.0.0.1, let "
                "callers show a key (api.auth: auto), or set api.allow_unauthenticated: true if the network itself "
                "keeps strangers out"
            )
        if bool(self.tls_certificate_path) != bool(self.tls_key_path):
            raise ValueError("tls_certificate_path and tls_key_path belong together; one of them is missing")

    @property
    def asks_for_keys(self) -> bool:
        """Whether callers have to show an API key."""
        if self.auth == "auto":
            return not self.allow_unauthenticated and not is_loopback(self.host)
        return self.auth == "on"


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
