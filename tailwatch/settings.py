"""Everything that can be configured, assembled: flags over environment over YAML file over defaults.

Each package owns the Struct of its section; this module adds what no package owns, puts default paths below
data_dir and hands out one checked, frozen Settings. Relative paths in a file start from the file's folder, all
others from the current one; every path in Settings is absolute.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit

import msgspec

from agents.config import AgentConfig
from agents.sources.configs import DatagramsConfig
from api.config import ApiConfig
from collector.config import CollectorConfig
from tailwatch.config_check import checked
from tailwatch.config_tree import Branch, Leaf, Node, Place, overlaid, places
from tailwatch.errors import ConfigError
from tailwatch.grafana.config import GrafanaSettings
from tailwatch.overlays import PREFIX, assignments_tree, environment_tree
from tailwatch.renamed_keys import RENAMED
from tailwatch.socket_paths import short_socket
from tailwatch.yaml_tree import read_file
from wire.kafka_settings import KafkaConfig

ColumnType = Literal["int64", "float64", "string", "bool", "sketch"]
Name = Annotated[str, msgspec.Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*$")]


class DatabaseConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where merged windows are kept."""

    #: SQLAlchemy address; "" is a SQLite file in data_dir.
    url: str = ""
    #: File with the password of a server, read with every new connection; "" for none.
    password_path: str = ""

    def __post_init__(self) -> None:
        """A password belongs to a server, and in one place."""
        if not self.password_path:
            return
        if not self.url.startswith("postgres"):
            raise ValueError("password_path is set, but url names no PostgreSQL server; set url, or remove the path")
        if urlsplit(self.url).password:
            raise ValueError("url holds a password, and password_path names another; keep one")


class TransportConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How frames travel from agents to collectors."""

    kind: Literal["embedded", "kafka"] = "embedded"
    #: Log file of the embedded transport; "" is log.db in data_dir.
    path: str = ""
    #: Partitions of a new log or topic; an existing one keeps its number.
    partitions: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 4
    kafka: KafkaConfig = msgspec.field(default_factory=KafkaConfig)

    def __post_init__(self) -> None:
        """Kafka has to be somewhere."""
        if self.kind == "kafka" and not self.kafka.servers:
            raise ValueError("kind is kafka, but kafka.servers names no broker; set it, for example to [broker-1:9092]")


class QueryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One streaming query beside the built-in ones."""

    name: Name
    sql: str


class QueryFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The shape of tailwatch/queries.yaml."""

    queries: tuple[QueryConfig, ...]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration file."""

    #: Home of everything written that has no path of its own.
    data_dir: str = "tailwatch-data"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    database: DatabaseConfig = msgspec.field(default_factory=DatabaseConfig)
    transport: TransportConfig = msgspec.field(default_factory=TransportConfig)
    #: Schemas of streams that replay and datagram sources feed: stream -> column -> type (ts and host are implied).
    streams: dict[Name, dict[Name, ColumnType]] = {}
    #: Static tables that queries may join: name -> CSV, Parquet or Arrow file.
    tables: dict[Name, str] = {}
    queries: tuple[QueryConfig, ...] = ()
    #: False leaves out the queries of tailwatch/queries.yaml.
    builtin_queries: bool = True
    agent: AgentConfig = msgspec.field(default_factory=AgentConfig)
    collector: CollectorConfig = msgspec.field(default_factory=CollectorConfig)
    api: ApiConfig = msgspec.field(default_factory=ApiConfig)
    grafana: GrafanaSettings = msgspec.field(default_factory=GrafanaSettings)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings and where each given key was written; keys that are missing there have their default."""

    settings: Settings
    places: Mapping[str, Place]


def load_settings(
    path: Path | None,
    *,
    environment: Mapping[str, str] | None = None,
    assignments: Sequence[str] = (),
    flags: Branch | None = None,
) -> Loaded:
    """Read, overlay, check and complete the configuration.

    Args:
        path: the YAML file; None means no file.
        environment: variables to read, os.environ when None.
        assignments: `key.path=value` texts of --set; `flags` (named flags) go on top of them.
    Raises:
        ConfigError: every fault found, each with its place.
    """
    names = [field.encode_name for field in msgspec.structs.fields(Settings)]
    tree: Node = read_file(path) if path is not None else Branch({}, Place("defaults"))
    tree = overlaid(tree, environment_tree(os.environ if environment is None else environment, names))
    tree = overlaid(tree, assignments_tree(assignments))
    tree = overlaid(tree, flags or Branch({}, Place("flags")))
    tree = _absolute(tree, ())
    assert isinstance(tree, Branch), "every part is a branch"
    given = places(tree)
    misplaced = [key for key in given if key.startswith(("agent.streams", "api.streams"))]
    if misplaced:
        raise ConfigError([f"{given[misplaced[0]]}: {misplaced[0]}: collectors need it too; move it to the top level"])
    return Loaded(_completed(checked(tree, Settings, RENAMED), given), given)


def variable_of(key: str) -> str:
    """The environment variable that sets a dotted key."""
    return PREFIX + key.upper().replace(".", "__")


def _absolute(node: Node, keys: tuple[str, ...]) -> Node:
    """The tree with every relative path made absolute, seen from where it was written."""
    if isinstance(node, Branch):
        entries = {key: _absolute(child, (*keys, key)) for key, child in node.entries.items()}
        return Branch(entries, node.place, node.key_places)
    if isinstance(node, Leaf):
        text = _absolute_text(node, keys)
        return node if text is None else Leaf(text, text, node.place, node.untyped)
    return type(node)(tuple(_absolute(item, keys) for item in node.items), node.place)


def _absolute_text(leaf: Leaf, keys: tuple[str, ...]) -> str | None:
    """A path leaf's absolute text; None for a leaf that is no path (or no text, which the checks will say)."""
    if not isinstance(leaf.value, str) or not leaf.value or not keys:
        return None
    base = Path(leaf.place.folder or Path.cwd())
    if keys == ("database", "url"):
        file = leaf.value.removeprefix("sqlite:///")
        relative = file != leaf.value and file not in ("", ":memory:") and not file.startswith("/")
        return f"sqlite:///{base / file}" if relative else None
    if keys[-1] == "path" or keys[-1].endswith(("_path", "_dir", "_socket")) or keys[0] == "tables":
        return os.path.normpath(base / Path(leaf.value).expanduser())
    return None


def _completed(settings: Settings, given: Collection[str]) -> Settings:
    """Settings with default paths put below data_dir and socket paths cut to what the system allows."""
    data_dir = settings.data_dir if Path(settings.data_dir).is_absolute() else str(Path.cwd() / settings.data_dir)
    agent, api, collector = settings.agent, settings.api, settings.collector
    replace = msgspec.structs.replace
    if "agent.spool_path" not in given:
        agent = replace(agent, spool_path=f"{data_dir}/spool.db")
    if settings.transport.kind == "kafka" and "collector.topic" not in given:
        # Positions in a topic must never be taken for positions in an embedded log on the same database.
        collector = replace(collector, topic=f"kafka:{settings.transport.kafka.topic}")
    sources = tuple(
        replace(source, path=short_socket(source.path)) if isinstance(source, DatagramsConfig) else source
        for source in agent.sources
    )
    return replace(
        settings,
        data_dir=data_dir,
        database=replace(settings.database, url=_database_url(settings.database, data_dir)),
        transport=replace(settings.transport, path=settings.transport.path or f"{data_dir}/log.db"),
        agent=replace(
            agent, sources=sources, streams={name: dict(columns) for name, columns in settings.streams.items()}
        ),
        collector=collector,
        api=replace(
            api,
            telemetry_socket=short_socket(api.telemetry_socket) if api.telemetry_socket else None,
            streams={name: dict(columns) for name, columns in settings.streams.items()},
        ),
    )


def _database_url(database: DatabaseConfig, data_dir: str) -> str:
    """The address with everything that the store needs to connect; the password itself is read by the store."""
    if not database.password_path:
        return database.url or f"sqlite:///{data_dir}/tailwatch.db"
    sign = "&" if "?" in database.url else "?"
    return f"{database.url}{sign}password_path={quote(database.password_path)}"
