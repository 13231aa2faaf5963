"""Settings under `grafana:`: where Grafana is, where it finds Tailwatch, and which objectives become alert rules.

Pure msgspec, so that reading a configuration file loads nothing of the rules and dashboards.
"""

from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec

PATH: Final = "/prometheus"
_Name = Annotated[str, msgspec.Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*$")]
_LONGEST_S = 3_600
#: Labels that alerts have of their series, or of whoever evaluates the rule: given by a setting they would hide which
#: host it is, and two alerts of one rule would become one, which Prometheus refuses.
TAKEN_LABELS: Final = frozenset(
    {
        *("agent", "host", "instance", "partition", "query", "reason"),
        *("drive", "model", "node", "origin", "service"),
        *("alertname", "grafana_folder"),
    }
)


class ObjectiveConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One promise about a tail: the share `objective` of a sketch metric's values is at most `threshold`.

    Raises:
        ValueError: a selector with its braces, or a share that is none.
    """

    #: A metric that a query makes with sketch(…), for example api_request_us.
    metric: Annotated[str, msgspec.Meta(pattern="^[A-Za-z_:][A-Za-z0-9_:]*$")]
    #: The largest good value, in the metric's unit.
    threshold: Annotated[float, msgspec.Meta(gt=0)]
    #: Matchers as PromQL has them between braces: only these series count; "" is all.
    selector: str = ""
    #: The share of values that has to be good; 0.99 leaves an error budget of 1 %.
    objective: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.99
    #: One alert for each value of these labels; empty is one for all series together.
    by: tuple[_Name, ...] = ()
    #: Fewer values than this in the short window raise no alert: one slow request in an idle night is no trend.
    min_count: Annotated[int, msgspec.Meta(ge=1)] = 100
    #: Tells two objectives of one metric apart; "" is the metric's name.
    name: Annotated[str, msgspec.Meta(pattern="^[a-z0-9_-]*$", max_length=64)] = ""

    def __post_init__(self) -> None:
        """The selector goes between braces as it stands."""
        if self.selector.strip().startswith("{"):
            raise ValueError(
                f'selector {self.selector} has braces; write only what is between them: status_class!="4xx"'
            )

    @property
    def id(self) -> str:
        """What the rules of this objective are called after; unique among objectives."""
        return self.name or self.metric


#: What holds on any fleet: timers that fire at most 10 ms late, and an API that answers within half a second.
DEFAULT_OBJECTIVES: Final = (
    ObjectiveConfig(metric="hiccup_us", threshold=10_000.0, by=("host",), min_count=1_000),
    ObjectiveConfig(metric="api_request_us", threshold=500_000.0, selector='status_class!="4xx"', by=("route",)),
)


class GrafanaSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything under `grafana:`.

    Raises:
        ValueError: an address that is none, two objectives of one name, or half a login.
    """

    #: Where Grafana is, as this machine reaches it; a path below it is kept.
    url: str = "http://127.0.0.1:3000"
    #: The organisation in which everything stands; 0 is the one of the token, or of the user.
    org_id: Annotated[int, msgspec.Meta(ge=0)] = 0
    #: File with the token of a service account; wins over TAILWATCH_GRAFANA_TOKEN, username and password.
    token_path: str = ""
    #: Basic authentication, where there is no token.
    username: str = ""
    password_path: str = ""
    #: Where Tailwatch's API is, as Grafana reaches it.
    api_url: str = "http://127.0.0.1:8080"
    #: File with the API key that Grafana shows to Tailwatch; "" where the API wants none.
    api_key_path: str = ""
    #: Where Grafana finds the exported dashboards.
    dashboards_dir: str = "/etc/grafana/dashboards"
    #: Width of the narrowest windows that are shown: the data source's scrape interval.
    interval_s: Annotated[int, msgspec.Meta(ge=1, le=_LONGEST_S)] = 10
    #: A window counts in alerts once it ended so long ago: by then late agents have delivered theirs.
    settle_s: Annotated[int, msgspec.Meta(ge=0, le=_LONGEST_S)] = 30
    #: Promises about tails, each of which becomes two burn-rate rules.
    objectives: tuple[ObjectiveConfig, ...] = DEFAULT_OBJECTIVES
    #: Labels that every rule gets, for notification policies to route by.
    labels: dict[_Name, str] = {}
    #: Folder or address below which runbooks are found; anchors of docs/reference/grafana.md are appended.
    runbook_url: str = ""

    def __post_init__(self) -> None:
        """Refuse what would only fail in Grafana."""
        for key, url in (("url", self.url), ("api_url", self.api_url), ("runbook_url", self.runbook_url)):
            if url or key != "runbook_url":
                _check_url(key, url)
        if self.username and not self.password_path:
            raise ValueError(f"username {self.username} has no password_path; name the file that holds the password")
        if self.password_path and not self.username:
            raise ValueError("password_path without username; set username, for example admin")
        names = [objective.id for objective in self.objectives]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two objectives are called {twice[0]}; give each a name of its own (objectives[].name)")
        if "managed_by" in self.labels or "severity" in self.labels:
            raise ValueError("labels managed_by and severity are given by the rules; choose other labels")
        of_series = TAKEN_LABELS.union(*(objective.by for objective in self.objectives))
        hidden = sorted(of_series & set(self.labels))
        if hidden:
            raise ValueError(f"labels {', '.join(hidden)} would hide what alerts are about; choose other labels")

    @property
    def source_url(self) -> str:
        """The address that the data source gets: Grafana appends /api/v1/…"""
        base = self.api_url.rstrip("/")
        return base if base.endswith(PATH) else base + PATH


def _check_url(key: str, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"{key} {url!r} is no address; want http://HOST:PORT or https://HOST")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError(f"{key} {url!r} has no port between 1 and 65535") from None
    if parts.username or parts.password:
        raise ValueError(f"{key} holds a user or password, which would be shown; use username and password_path")
