"""Every command and flag of the command line, in one place.

Only the flags are here: a command's module in tailwatch/commands/ is named, and imported when it runs.
"""

import argparse
import os

from tailwatch.command_examples import EXAMPLES
from tailwatch.command_parser import add_settings_flags, command_parser
from tailwatch.drive_parsers import add_drives
from tailwatch.flag_values import (
    MOST_MADE_UP_GPU_JOBS,
    cores_given,
    count_up_to,
    lifetime_s,
    made_up_drives,
    port,
    row_count,
    run_seconds,
    server,
    source_kind,
)
from tailwatch.gpu_parsers import add_gpu
from tailwatch.ssd_parsers import add_ssd
from tailwatch.tail_parsers import add_tail

_POLICIES = ("adaptive", "all-sp", "all-src", "filter-src", "best-op", "lb-dp")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; the documentation's tests walk it too."""
    parser = command_parser(
        argparse.ArgumentParser, "tailwatch", "Datacenter telemetry that keeps its tails.", prog="tailwatch"
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="print the release and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_demo(commands)
    _add_run(commands, "agent", "read sources on this host, sketch them, ship frames", "agent.checkpoint_s=1")
    _add_run(commands, "collector", "merge frames into the database exactly once", "database.url=sqlite:////srv/tw.db")
    _add_run(commands, "api", "answer questions over HTTP", "api.port=9000")
    _add_db(commands)
    _add_key(commands)
    _add_topic(commands)
    _add_query(commands)
    _add_hosts(commands)
    add_drives(commands)
    _add_config(commands)
    _add_doctor(commands)
    _add_grafana(commands)
    add_ssd(commands)
    add_gpu(commands)
    add_tail(commands)
    return parser


def _add_demo(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "run agent, collector and API together on this host's own telemetry"
    demo = command_parser(commands.add_parser, "demo", text)
    demo.add_argument("--port", type=port, metavar="P", help="port of the API (default: 8080)")
    demo.add_argument("--data", metavar="DIR", help="folder for everything the demo writes (default: ./tailwatch-data)")
    demo.add_argument(
        "--database", metavar="URL", help="database.url, for example postgresql+psycopg://me@db/tailwatch"
    )
    demo.add_argument("--seconds", type=run_seconds, metavar="N", help="end after N seconds with a summary")
    demo.add_argument(
        "--kafka", type=server, metavar="HOST:PORT", help="send frames over this Kafka broker (default: a local log)"
    )
    demo.add_argument(
        "--drives", type=made_up_drives, default=0, metavar="N", help="with N made-up drives, a month and more old"
    )
    demo.add_argument(
        "--gpu-jobs",
        type=count_up_to(MOST_MADE_UP_GPU_JOBS, 0),
        default=0,
        metavar="N",
        help="with N made-up GPU jobs that run and mostly die while one looks",
    )
    demo.set_defaults(command_module="demo")


def _add_run(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", part: str, text: str, assignment: str
) -> None:
    group = commands.add_parser(part, help=text, description=text.capitalize() + ".")
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    key, _, value = assignment.partition("=")
    variable = f"TAILWATCH_{key.upper().replace('.', '__')}={value}"
    example = EXAMPLES["run"].format(part=part, assignment=assignment, variable=variable)
    run = command_parser(actions.add_parser, "run", f"{text}, until SIGTERM or Ctrl-C", example=example)
    add_settings_flags(run)
    if part == "agent":
        run.add_argument("--id", metavar="NAME", help="agent.id: name of this agent (default: the host's name)")
        run.add_argument(
            "--policy",
            choices=_POLICIES,
            help="agent.policy: how much of the queries runs here",
        )
    if part == "collector":
        run.add_argument("--id", metavar="NAME", help="collector.id: name of this collector")
    if part == "api":
        run.add_argument("--host", metavar="ADDRESS", help="api.host: address to listen on")
        run.add_argument("--port", type=port, metavar="P", help="api.port: port to listen on")
    run.add_argument(
        "--supervisor",
        type=int,
        metavar="PID",
        help="end with process PID and leave Ctrl-C to it; `tailwatch demo` starts its parts so",
    )
    run.set_defaults(command_module=part)
    if part == "agent":
        _add_plan(actions)
        _add_sources(actions)


def _add_plan(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "say what an agent of this configuration would decide and take, from a short dry run"
    plan = command_parser(actions.add_parser, "plan", text, example=EXAMPLES["agent plan"])
    plan.add_argument("--seconds", type=run_seconds, default=5.0, metavar="N", help="how long to read (default: 5)")
    plan.add_argument(
        "--rows",
        type=row_count,
        default=1_000_000,
        metavar="N",
        help="most rows of a file without a pace (default: 1000000)",
    )
    plan.add_argument(
        "--budget", type=cores_given, metavar="CORES", help="agent.budget.cores, instead of the configured one"
    )
    plan.add_argument("--no-api", dest="asks_api", action="store_false", help="do not ask the API at agent.plan_url")
    plan.add_argument("--json", dest="as_json", action="store_true", help="the same as JSON")
    plan.add_argument("--id", metavar="NAME", help="agent.id: name of this agent (default: the host's name)")
    plan.add_argument("--policy", choices=_POLICIES, help="agent.policy: which policy is shown in full")
    add_settings_flags(plan)
    plan.set_defaults(command_module="agent_plan")


def _add_sources(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "list every kind of source with its streams, and how it is on this host"
    listed = command_parser(actions.add_parser, "sources", text, example=EXAMPLES["agent sources"])
    listed.add_argument(
        "kinds", nargs="*", type=source_kind, metavar="KIND", help="only sources of this kind, for example smart"
    )
    listed.add_argument("--json", dest="as_json", action="store_true", help="the same as JSON")
    listed.add_argument("--id", metavar="NAME", help="agent.id: name of this agent (default: the host's name)")
    add_settings_flags(listed)
    listed.set_defaults(command_module="agent_sources")


def _add_db(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "look after the database"
    group = commands.add_parser("db", help=text, description=text.capitalize() + ".")
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    upgrade = command_parser(actions.add_parser, "upgrade", "create the tables, or bring them to this release")
    add_settings_flags(upgrade)
    upgrade.set_defaults(command_module="db", action="upgrade")
    text = "copy a SQLite database while it is in use, and look the copy through"
    backup = command_parser(actions.add_parser, "backup", text)
    backup.add_argument("file", metavar="FILE", help="the copy; must not exist")
    add_settings_flags(backup)
    backup.set_defaults(command_module="db", action="backup")


def _add_key(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "make, list and revoke API keys"
    group = commands.add_parser("key", help=text, description=text.capitalize() + ".")
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    example = EXAMPLES["key create"]
    create = command_parser(
        actions.add_parser, "create", "make an API key and print it, this one time", example=example
    )
    create.add_argument("name", metavar="NAME", help="what to call it, for example grafana")
    create.add_argument(
        "--scope",
        dest="scopes",
        action="append",
        choices=["read", "ingest", "agent", "admin"],
        help="what it may do; may be repeated, admin covers the others (default: read)",
    )
    create.add_argument(
        "--key-path",
        metavar="FILE",
        help="take the key from FILE instead of making one; done already is done, so this may be run at every start",
    )
    create.add_argument(
        "--expires", type=lifetime_s, metavar="AFTER", help="end of its life, for example 90d or 12h (default: none)"
    )
    add_settings_flags(create)
    create.set_defaults(command_module="key", action="create")
    shown = command_parser(
        actions.add_parser, "list", "list all keys, without their secrets", example=EXAMPLES["key list"]
    )
    shown.add_argument("--output", choices=["table", "json"], default="table", help="default: table")
    add_settings_flags(shown)
    shown.set_defaults(command_module="key", action="list")
    example = EXAMPLES["key revoke"]
    revoke = command_parser(actions.add_parser, "revoke", "make a key worthless, within seconds", example=example)
    revoke.add_argument("which", metavar="KEY", help="its name, number or prefix, as `tailwatch key list` shows them")
    add_settings_flags(revoke)
    revoke.set_defaults(command_module="key", action="revoke")


def _add_topic(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "look after the Kafka topic that carries the frames"
    group = commands.add_parser("topic", help=text, description=text.capitalize() + ".")
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    create = command_parser(actions.add_parser, "create", "make the topic where it is missing, and say what it is like")
    create.add_argument(
        "--partitions", type=int, metavar="N", help="transport.partitions: how many collectors can share the work"
    )
    add_settings_flags(create)
    create.set_defaults(command_module="topic", create=True)
    example = EXAMPLES["topic check"]
    check = command_parser(
        actions.add_parser, "check", "reach the brokers and say what the topic is like", example=example
    )
    add_settings_flags(check)
    check.set_defaults(command_module="topic", create=False)


def _add_query(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    query = command_parser(
        commands.add_parser, "query", "ask the API for quantiles (or sums, counts, lines) of a metric"
    )
    query.add_argument("metric", metavar="METRIC", help="name of a metric, for example hiccup_us")
    query.add_argument(
        "-q", dest="levels", action="append", type=float, metavar="Q", help="quantile level in [0, 1]; may be repeated"
    )
    query.add_argument("--by", action="append", metavar="LABEL", help="one row per value of LABEL; may be repeated")
    query.add_argument(
        "--where",
        action="append",
        metavar="MATCHER",
        help="LABEL=VALUE, or with !=, =~, !~; may be repeated: all must hold",
    )
    query.add_argument("--start", default="-5m", metavar="TIME", help="-5m, Unix seconds or RFC 3339 (default: -5m)")
    query.add_argument("--end", metavar="TIME", help="as --start (default: now)")
    query.add_argument("--step", metavar="DURATION", help="one row per step, for example 10s")
    query.add_argument("--output", choices=["table", "json", "csv"], default="table", help="default: table")
    _add_url(query)
    query.set_defaults(command_module="query")


def _add_hosts(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    hosts = command_parser(
        commands.add_parser, "hosts", "list the agents that the API knows, and how far behind they are"
    )
    hosts.add_argument("--state", choices=["alive", "silent", "retired"], help="only agents in this state")
    hosts.add_argument("--prefix", metavar="TEXT", help="only agents whose ids begin so")
    hosts.add_argument("--output", choices=["table", "json"], default="table", help="default: table")
    _add_url(hosts)
    hosts.set_defaults(command_module="hosts")


def _add_url(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url",
        default=os.environ.get("TAILWATCH_URL") or "http://127.0.0.1:8080",
        help="address of the API (default: $TAILWATCH_URL, else http://127.0.0.1:8080)",
    )


def _add_config(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "check and show the configuration"
    group = commands.add_parser("config", help=text, description=text.capitalize() + ".")
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    check = command_parser(actions.add_parser, "check", "name every mistake in FILE, its queries and tables included")
    check.add_argument("config", metavar="FILE", help="the YAML file")
    check.set_defaults(command_module="config_check", assignments=[])
    show = command_parser(actions.add_parser, "show", "print every setting in effect and where it comes from")
    add_settings_flags(show)
    show.set_defaults(command_module="config_show")


def _add_doctor(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "check configuration, database, transport, clock, disks, API and spool, and say what to do"
    doctor = command_parser(commands.add_parser, "doctor", text)
    doctor.add_argument(
        "--part",
        dest="parts",
        action="append",
        choices=["agent", "collector", "api"],
        help="only what this part needs; may be repeated (default: all three)",
    )
    doctor.add_argument("--output", choices=["table", "json"], default="table", help="default: table")
    add_settings_flags(doctor)
    doctor.set_defaults(command_module="doctor")


def _add_grafana(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "bring data source, dashboards and alert rules into a Grafana"
    group = commands.add_parser("grafana", help=text, description=text.capitalize() + ".")
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    text = "write provisioning, dashboards and rules for Grafana and for rule evaluators as files"
    export = command_parser(actions.add_parser, "export", text)
    export.add_argument("folder", metavar="DIR", help="where to; files in it that are not ours stay")
    export.add_argument("--check", action="store_true", help="write nothing; exit code 1 when DIR holds anything else")
    add_settings_flags(export)
    export.set_defaults(command_module="grafana_export")
    apply = command_parser(actions.add_parser, "apply", "show what differs in a running Grafana, and bring it in")
    apply.add_argument("--yes", action="store_true", help="do not ask first")
    apply.add_argument("--dry-run", action="store_true", help="only show what would be written")
    apply.add_argument("--force", action="store_true", help="overwrite what was edited by hand since")
    diff = command_parser(
        actions.add_parser, "diff", "show what differs in a running Grafana; exit code 1 when something does"
    )
    for action, parser in (("apply", apply), ("diff", diff)):
        parser.add_argument("--url", metavar="URL", help="grafana.url: where Grafana is")
        add_settings_flags(parser)
        parser.set_defaults(command_module="grafana_apply", action=action)


class _ShowVersion(argparse.Action):
    """Prints the release and exits; only then is the package's metadata read, which takes 20 ms."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"tailwatch {version('tailwatch')}")
        parser.exit()
