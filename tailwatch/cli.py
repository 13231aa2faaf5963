"""The command line: every command and flag in one place, and what becomes of errors.

Commands live in tailwatch/commands/ and are imported when they run, so that `tailwatch agent run` never loads
what only the collector or the API needs. Exit codes: 0 done, 1 failed, 2 wrong usage, 78 wrong configuration.
Answers go to stdout, logs and errors to stderr.
"""

import argparse
import importlib
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from tailwatch.errors import ConfigError, TailwatchError
from tailwatch.foreign_packages import OUR_PACKAGES, refuse_foreign_packages
from tailwatch.terminal import paint

_TIME_FLAGS = ("--start", "--end")

_POLICIES = ("adaptive", "all-sp", "all-src", "filter-src", "best-op", "lb-dp")

_LONG_RUNNING = ("agent", "collector", "api")

_EXAMPLES = {
    "tailwatch": """\
examples:
  tailwatch demo                                  agent, collector and API on this host's own telemetry
  tailwatch query hiccup_us -q 0.99 --start -1m   one quantile of the last minute
  tailwatch config check tailwatch.yaml           every mistake in a file, with line and nearest known key
""",
    "demo": """\
examples:
  tailwatch demo
  tailwatch demo --port 18080 --data ./demo-data --seconds 60
  tailwatch demo --kafka 127.0.0.1:9092
""",
    "run": """\
examples:
  tailwatch {part} run --config tailwatch.yaml
  tailwatch {part} run --config tailwatch.yaml --set {assignment}
  {variable} tailwatch {part} run
""",
    "agent plan": """\
examples:
  tailwatch agent plan --config tailwatch.yaml
  tailwatch agent plan --config tailwatch.yaml --budget 0.2 --seconds 20
  tailwatch agent plan --config tailwatch.yaml --json --no-api
""",
    "query": """\
examples:
  tailwatch query hiccup_us -q 0.5 -q 0.99 --start -5m
  tailwatch query api_request_us -q 0.99 --by route --where host:web-7 --start -1h --step 1m
  tailwatch query api_request_us --where 'route=~/api/.*' --output csv
  tailwatch query hiccup_us --output json --url http://127.0.0.1:18080
""",
    "hosts": """\
examples:
  tailwatch hosts
  tailwatch hosts --state silent --prefix rack7-
""",
    "check": """\
examples:
  tailwatch config check tailwatch.yaml && systemctl reload tailwatch-agent
""",
    "show": """\
examples:
  tailwatch config show --config tailwatch.yaml --set api.port=9000
""",
    "create": """\
examples:
  tailwatch topic create --config tailwatch.yaml
  tailwatch topic create --config tailwatch.yaml --partitions 12 --set transport.kafka.replication=3
""",
    "topic check": """\
examples:
  tailwatch topic check --config tailwatch.yaml
""",
    "upgrade": """\
examples:
  tailwatch db upgrade --config tailwatch.yaml
""",
    "key create": """\
examples:
  tailwatch key create grafana --config tailwatch.yaml
  tailwatch key create operator --scope read --scope admin --expires 90d
""",
    "key list": """\
examples:
  tailwatch key list --config tailwatch.yaml
""",
    "key revoke": """\
examples:
  tailwatch key revoke grafana --config tailwatch.yaml
""",
    "doctor": """\
examples:
  tailwatch doctor --config tailwatch.yaml
  tailwatch doctor --part agent --output json
""",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        refuse_foreign_packages()
        args = build_parser().parse_args(_with_joined_times(arguments))
        command: Callable[[argparse.Namespace], int] = _load(args.command_module)
        code = command(args)
    except BrokenPipeError:  # `tailwatch query ... | head` closed our stdout: not a failure
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        messages = _messages(error)
        if messages is None:
            raise
        for message in messages:
            print(f"{paint('error:', 'red', sys.stderr)} {message}", file=sys.stderr)
        return error.exit_code if isinstance(error, TailwatchError) else 1
    if argv is None and args.command_module in _LONG_RUNNING:
        _leave(code)
    return code


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; the documentation's tests walk it too."""
    parser = _parser(
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
    _add_config(commands)
    _add_doctor(commands)
    return parser


def _add_demo(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "run agent, collector and API together on this host's own telemetry"
    demo = _parser(commands.add_parser, "demo", text)
    demo.add_argument("--port", type=_port, metavar="P", help="port of the API (default: 8080)")
    demo.add_argument("--data", metavar="DIR", help="folder for everything the demo writes (default: ./tailwatch-data)")
    demo.add_argument(
        "--database", metavar="URL", help="database.url, for example postgresql+psycopg://me@db/tailwatch"
    )
    demo.add_argument("--seconds", type=_seconds, metavar="N", help="end after N seconds with a summary")
    demo.add_argument(
        "--kafka", type=_server, metavar="HOST:PORT", help="send frames over this Kafka broker (default: a local log)"
    )
    demo.set_defaults(command_module="demo")


def _add_run(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", part: str, text: str, assignment: str
) -> None:
    group = commands.add_parser(part, help=text, description=text.capitalize() + ".")
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    key, _, value = assignment.partition("=")
    variable = f"TAILWATCH_{key.upper().replace('.', '__')}={value}"
    example = _EXAMPLES["run"].format(part=part, assignment=assignment, variable=variable)
    run = _parser(actions.add_parser, "run", f"{text}, until SIGTERM or Ctrl-C", example=example)
    _add_settings_flags(run)
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
        run.add_argument("--port", type=_port, metavar="P", help="api.port: port to listen on")
    run.add_argument(
        "--supervisor",
        type=int,
        metavar="PID",
        help="end with process PID and leave Ctrl-C to it; `tailwatch demo` starts its parts so",
    )
    run.set_defaults(command_module=part)
    if part == "agent":
        _add_plan(actions)


def _add_plan(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "say what an agent of this configuration would decide and take, from a short dry run"
    plan = _parser(actions.add_parser, "plan", text, example=_EXAMPLES["agent plan"])
    plan.add_argument("--seconds", type=_seconds, default=5.0, metavar="N", help="how long to read (default: 5)")
    plan.add_argument(
        "--rows",
        type=_rows,
        default=1_000_000,
        metavar="N",
        help="most rows of a file without a pace (default: 1000000)",
    )
    plan.add_argument(
        "--budget", type=_cores, metavar="CORES", help="agent.budget.cores, instead of the configured one"
    )
    plan.add_argument("--no-api", dest="asks_api", action="store_false", help="do not ask the API at agent.plan_url")
    plan.add_argument("--json", dest="as_json", action="store_true", help="the same as JSON")
    plan.add_argument("--id", metavar="NAME", help="agent.id: name of this agent (default: the host's name)")
    plan.add_argument("--policy", choices=_POLICIES, help="agent.policy: which policy is shown in full")
    _add_settings_flags(plan)
    plan.set_defaults(command_module="agent_plan")


def _add_db(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "look after the database"
    group = commands.add_parser("db", help=text, description=text.capitalize() + ".")
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    upgrade = _parser(actions.add_parser, "upgrade", "create the tables, or bring them to this release")
    _add_settings_flags(upgrade)
    upgrade.set_defaults(command_module="db")


def _add_key(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "make, list and revoke API keys"
    group = commands.add_parser("key", help=text, description=text.capitalize() + ".")
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    example = _EXAMPLES["key create"]
    create = _parser(actions.add_parser, "create", "make an API key and print it, this one time", example=example)
    create.add_argument("name", metavar="NAME", help="what to call it, for example grafana")
    create.add_argument(
        "--scope",
        dest="scopes",
        action="append",
        choices=["read", "ingest", "agent", "admin"],
        help="what it may do; may be repeated, admin covers the others (default: read)",
    )
    create.add_argument(
        "--expires", type=_lifetime, metavar="AFTER", help="end of its life, for example 90d or 12h (default: none)"
    )
    _add_settings_flags(create)
    create.set_defaults(command_module="key", action="create")
    shown = _parser(actions.add_parser, "list", "list all keys, without their secrets", example=_EXAMPLES["key list"])
    shown.add_argument("--output", choices=["table", "json"], default="table", help="default: table")
    _add_settings_flags(shown)
    shown.set_defaults(command_module="key", action="list")
    example = _EXAMPLES["key revoke"]
    revoke = _parser(actions.add_parser, "revoke", "make a key worthless, within seconds", example=example)
    revoke.add_argument("which", metavar="KEY", help="its name, number or prefix, as `tailwatch key list` shows them")
    _add_settings_flags(revoke)
    revoke.set_defaults(command_module="key", action="revoke")


def _add_topic(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "look after the Kafka topic that carries the frames"
    group = commands.add_parser("topic", help=text, description=text.capitalize() + ".")
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    create = _parser(actions.add_parser, "create", "make the topic where it is missing, and say what it is like")
    create.add_argument(
        "--partitions", type=int, metavar="N", help="transport.partitions: how many collectors can share the work"
    )
    _add_settings_flags(create)
    create.set_defaults(command_module="topic", create=True)
    example = _EXAMPLES["topic check"]
    check = _parser(actions.add_parser, "check", "reach the brokers and say what the topic is like", example=example)
    _add_settings_flags(check)
    check.set_defaults(command_module="topic", create=False)


def _add_query(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    query = _parser(commands.add_parser, "query", "ask the API for quantiles (or sums and counts) of a metric")
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
    hosts = _parser(commands.add_parser, "hosts", "list the agents that the API knows, and how far behind they are")
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
    check = _parser(actions.add_parser, "check", "name every mistake in FILE, its queries and tables included")
    check.add_argument("config", metavar="FILE", help="the YAML file")
    check.set_defaults(command_module="config_check", assignments=[])
    show = _parser(actions.add_parser, "show", "print every setting in effect and where it comes from")
    _add_settings_flags(show)
    show.set_defaults(command_module="config_show")


def _add_doctor(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "check configuration, database, transport, clock, disks, API and spool, and say what to do"
    doctor = _parser(commands.add_parser, "doctor", text)
    doctor.add_argument(
        "--part",
        dest="parts",
        action="append",
        choices=["agent", "collector", "api"],
        help="only what this part needs; may be repeated (default: all three)",
    )
    doctor.add_argument("--output", choices=["table", "json"], default="table", help="default: table")
    _add_settings_flags(doctor)
    doctor.set_defaults(command_module="doctor")


def _add_settings_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="YAML file (default: $TAILWATCH_CONFIG, else none)")
    parser.add_argument(
        "--set",
        dest="assignments",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="one setting, for example agent.checkpoint_s=1; may be repeated, wins over file and environment",
    )
    parser.add_argument("--data", metavar="DIR", help="data_dir: home of every path without one of its own")
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"], help="log_level (default: info)")


def _parser(
    make: Callable[..., argparse.ArgumentParser], name: str, text: str, *, prog: str | None = None, example: str = ""
) -> argparse.ArgumentParser:
    """A parser with its description, and its examples below the flags."""
    names = {"prog": prog} if prog else {"name": name, "help": text}
    return make(
        **names,
        description=text[:1].upper() + text[1:].rstrip(".") + ".",
        epilog=example or _EXAMPLES[name],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _load(module: str) -> Callable[[argparse.Namespace], int]:
    run: Callable[[argparse.Namespace], int] = importlib.import_module(f"tailwatch.commands.{module}").run
    return run


def _with_joined_times(arguments: list[str]) -> list[str]:
    """`--start -5m` as `--start=-5m`: argparse would take -5m for a flag."""
    joined: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        value = next(waiting, None) if argument in _TIME_FLAGS else None
        joined.append(argument if value is None else f"{argument}={value}")
    return joined


def _port(text: str) -> int:
    port = int(text) if text.isascii() and text.isdigit() else -1
    if not 1 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; want 1 to 65535")
    return port


def _server(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no broker; want HOST:PORT, for example 127.0.0.1:9092")
    return text


def _lifetime(text: str) -> int:
    found = re.fullmatch(r"([1-9][0-9]{0,8})(s|m|h|d|w)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; want a number and s, m, h, d or w, such as 90d")
    return int(found[1]) * {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}[found[2]]


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 1 <= seconds <= 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no run time; want a number of seconds from 1 up")
    return seconds


def _rows(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 10**12):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows; want a whole number from 1 up")
    return int(text)


def _cores(text: str) -> float:
    try:
        cores = float(text)
    except ValueError:
        cores = -1.0
    if not 0 < cores <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is no budget; want cores, such as 0.2, above 0 and up to 1024")
    return cores


class _ShowVersion(argparse.Action):
    """Prints the release and exits; only then is the package's metadata read, which takes 20 ms."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"tailwatch {version('tailwatch')}")
        parser.exit()


def _leave(code: int) -> NoReturn:
    """End the process at once: everything is closed, and taking the interpreter apart would cost another 0.4 s."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _messages(error: Exception) -> Sequence[str] | None:
    """What to say about an error, one entry per problem; None for an unforeseen one, which needs its traceback."""
    if isinstance(error, ConfigError):
        return error.problems
    if type(error).__module__.partition(".")[0] in OUR_PACKAGES:
        return [str(error)]
    if isinstance(error, OSError) and error.filename is not None:
        return [f"{error.filename}: {error.strerror}"]
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] not in ("", *OUR_PACKAGES):
        return [f"this command needs the package {error.name}, which is not installed; install tailwatch[all]"]
    sqlalchemy = sys.modules.get("sqlalchemy.exc")
    if sqlalchemy is not None and isinstance(error, sqlalchemy.SQLAlchemyError):
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        return [f"the database cannot be used: {reason}; check database.url, `tailwatch config show` prints it"]
    return None


def script() -> NoReturn:
    """`python -m tailwatch.cli`, which is how the demo starts its parts."""
    sys.exit(main())


if __name__ == "__main__":
    script()
