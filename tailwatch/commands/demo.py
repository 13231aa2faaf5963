"""`tailwatch demo`: agent, collector and API in one process group, on this host's own telemetry.

Order at the end: the agent writes its last checkpoint and hands it over, the collector takes it in, the API still
answers the summary and goes last. Where the parts' own work is done: tailwatch/commands/{agent,collector,api}.py.
"""

import argparse
import hashlib
import os
import platform
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tailwatch.demo_config import PARTS_FILE, check_job_logs, first_config
from tailwatch.demo_gpu_jobs import GpuJobs
from tailwatch.demo_parts import PartsFile
from tailwatch.demo_report import Reader, Summary, summary_text, where_to_look
from tailwatch.settings import Loaded, TransportConfig
from tailwatch.stopping import Terminal
from tailwatch.supervisor import Part, Supervisor
from tailwatch.terminal import LiveLine, paint

_READY_WITHIN_S = 30.0
_PARTS_STOP_S = 5.0
# A query posted to a demo should show data while one looks.
_PLAN_POLL_S = 2.0


@dataclass(frozen=True, slots=True)
class _Demo:
    """What the demo runs with; `before` are the database's totals when it began.

    `collector_port` is where the collector shows its metrics, 0: nowhere.
    """

    loaded: Loaded
    config_path: Path
    url: str
    port: int
    before: dict[str, int]
    collector_port: int
    parts_file: PartsFile
    assignments: tuple[str, ...] = ()


def run(args: argparse.Namespace) -> int:
    """Prepare, start, show, and end with a summary."""
    stop = threading.Event()
    line = LiveLine(sys.stdout)
    demo = _prepared(args)
    if args.drives:
        _plant(demo, args.drives, line)
    data_dir = Path(demo.loaded.settings.data_dir)
    gpu_jobs = GpuJobs(data_dir, args.gpu_jobs, demo.url) if args.gpu_jobs else None
    if gpu_jobs is not None:
        gpu_jobs.clear()
    supervisor = Supervisor(_parts(demo), data_dir / "logs")
    _handle_signals(stop, supervisor)
    started_ns = time.time_ns()
    supervisor.start()
    try:
        failed = _watch(args, demo, supervisor, stop, line, gpu_jobs)
        if gpu_jobs is not None:
            gpu_jobs.stop()
        return _ended(demo, supervisor, line, started_ns, failed, must_measure=args.seconds is not None)
    except BaseException:
        supervisor.kill()
        raise


def _prepared(args: argparse.Namespace) -> _Demo:
    """Everything that can be found wrong before a process is started.

    Raises:
        DataFolderError, ConfigError, api.errors.StartError, store.errors.SchemaError: with what to change.
    """
    from api.server import bind, url_of
    from store.connect import open_engine, upgrade
    from store.fleet import totals
    from tailwatch.data_folder import hold, prepare_data_folder
    from tailwatch.errors import ConfigError
    from tailwatch.overlays import flag_tree
    from tailwatch.query_set import compiled
    from tailwatch.settings import load_settings, variable_of
    from tailwatch.settings_flags import set_up_logging

    set_up_logging("warning")
    folder = Path(args.data or os.environ.get("TAILWATCH_DATA_DIR") or "tailwatch-data").absolute()
    prepare_data_folder(str(folder))
    hold(folder)
    config_path = folder / "tailwatch.yaml"
    if not config_path.exists():
        config_path.write_text(first_config(folder, gpu_jobs=args.gpu_jobs > 0), encoding="utf-8")
    (folder / "logs").mkdir(exist_ok=True)
    flags = flag_tree({"data_dir": ("--data", str(folder)), "api.port": ("--port", args.port)})
    if args.database:
        # By the environment also to the parts: their arguments are for everybody on this host to read.
        os.environ[variable_of("database.url")] = args.database
    assignments = _over_kafka(args.kafka, folder) if args.kafka else ()
    loaded = load_settings(config_path, assignments=assignments, flags=flags)
    if args.gpu_jobs:
        check_job_logs(loaded.settings, config_path)
    compiled(loaded)
    if loaded.settings.api.asks_for_keys or loaded.settings.api.tls_certificate_path:
        problem = (
            f"{config_path}: the demo asks its own API without a key or a certificate; keep api.host on loopback "
            "and api.auth and TLS out of the demo, or run the parts apart"
        )
        raise ConfigError([problem])
    with bind(loaded.settings.api) as listener:  # only to see that it can be bound, and which port 0 would be
        url, port = url_of(listener), int(listener.getsockname()[1])
    upgrade(loaded.settings.database.url)
    engine = open_engine(loaded.settings.database.url)
    with engine.connect() as connection:
        before = totals(connection)
    engine.dispose()
    if loaded.settings.transport.kind == "kafka":
        _prepare_topic(loaded.settings.transport)
    given = "collector.metrics_port" in loaded.places
    collector_port = loaded.settings.collector.metrics_port if given else _free_port()
    parts_file = PartsFile(folder / PARTS_FILE, _places(url, collector_port))
    return _Demo(loaded, config_path, url, port, before, collector_port, parts_file, assignments)


def _plant(demo: _Demo, drives: int, line: LiveLine) -> None:
    """Made-up drives, before anybody reads the database."""
    from store.connect import open_engine
    from tailwatch.demo_drives import plant_drives

    engine = open_engine(demo.loaded.settings.database.url)
    try:
        plant_drives(engine, drives, time.time_ns(), line.note)
    finally:
        engine.dispose()


def _analysed(demo: _Demo, started_ns: int) -> tuple[str, str]:
    """What was said of drives, and of GPU jobs that failed in this run; "" for none."""
    from store.connect import open_engine
    from tailwatch.demo_drives import drives_line
    from tailwatch.demo_gpu_report import gpu_jobs_line

    engine = open_engine(demo.loaded.settings.database.url, read_only=True)
    try:
        return drives_line(engine), gpu_jobs_line(engine, started_ns)
    finally:
        engine.dispose()


def _free_port() -> int:
    """One on loopback that nobody has just now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _places(url: str, collector_port: int) -> dict[str, str]:
    """Where the parts show their metrics: HOST:PORT by name."""
    places = {"api": url.removeprefix("http://")}
    return places | ({"collector": f"127.0.0.1:{collector_port}"} if collector_port else {})


def _over_kafka(server: str, folder: Path) -> tuple[str, ...]:
    """Settings for a broker; a group of this demo's own, for collectors of one group share what there is to read."""
    place = hashlib.sha256(f"{platform.node()} {folder}".encode()).hexdigest()[:12]
    return (
        "transport.kind=kafka",
        f'transport.kafka.servers=["{server}"]',
        f"transport.kafka.group=tailwatch-demo-{place}",
        # A part that dies is started again at once, and its partitions should not wait long for it.
        "transport.kafka.session_timeout_s=6",
        "transport.kafka.heartbeat_s=1",
    )


def _prepare_topic(transport: TransportConfig) -> None:
    """Make the topic where it is missing; one that is there is taken as it is.

    Raises:
        TransportError, TransportSettingError: with what to change.
    """
    from wire.errors import TopicMissingError
    from wire.kafka_topics import create_topic, describe_topic

    try:
        describe_topic(transport.kafka)
    except TopicMissingError:
        create_topic(transport.kafka, transport.partitions)


def _parts(demo: _Demo) -> list[Part]:
    """Agent, collector, API: also the order in which they end."""
    settings = demo.loaded.settings
    over = tuple(word for assignment in demo.assignments for word in ("--set", assignment))
    common = ("--config", str(demo.config_path), "--data", settings.data_dir, *over)
    return [
        Part("agent", ("agent", "run", *common, *_plans_from(demo)), _PARTS_STOP_S),
        Part("collector", ("collector", "run", *common, *_shown_at(demo)), _PARTS_STOP_S),
        Part("api", ("api", "run", *common, "--port", str(demo.port)), _PARTS_STOP_S),
    ]


def _plans_from(demo: _Demo) -> tuple[str, ...]:
    """The agent asks this demo's own API what to run, unless the file names another."""
    if "agent.plan_url" in demo.loaded.places:
        return ()
    return ("--set", f"agent.plan_url={demo.url}", "--set", f"agent.plan_poll_s={_PLAN_POLL_S:g}")


def _shown_at(demo: _Demo) -> tuple[str, ...]:
    """The collector shows its metrics, unless the file says where or that it shall not."""
    if "collector.metrics_port" in demo.loaded.places:
        return ()
    return ("--set", f"collector.metrics_port={demo.collector_port}")


def _handle_signals(stop: threading.Event, supervisor: Supervisor) -> None:
    """First signal: end in order. Second: end now. SIGHUP is for the agent, unless the terminal has gone."""
    terminal = Terminal()

    def ask(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            supervisor.kill()
            os._exit(128 + number)
        stop.set()

    def hung_up(number: int, _frame: FrameType | None) -> None:
        if terminal.has_gone():
            stop.set()
        elif not stop.is_set():
            supervisor.pass_on(number, "agent")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)
    signal.signal(signal.SIGHUP, hung_up)


def _watch(
    args: argparse.Namespace,
    demo: _Demo,
    supervisor: Supervisor,
    stop: threading.Event,
    line: LiveLine,
    gpu_jobs: GpuJobs | None,
) -> bool:
    """Show the live line until it is time to end; True when a part cannot be kept running."""
    begun = time.monotonic()
    deadline = begun + args.seconds if args.seconds else float("inf")
    reader = Reader(demo.url)
    ready = False
    while not stop.is_set() and time.monotonic() < deadline:
        for sentence in supervisor.look_after():
            line.note(paint(sentence, "yellow", sys.stdout))
        if supervisor.given_up:
            line.note("a part cannot be kept running; giving up")
            return True
        demo.parts_file.look()
        state = reader.state()
        if state is not None and not ready:
            ready = True
            line.note(
                where_to_look(
                    demo.url,
                    demo.loaded.settings.data_dir,
                    os.getpid(),
                    drives=args.drives > 0,
                    gpu_jobs=args.gpu_jobs > 0,
                )
            )
            if gpu_jobs is not None:
                gpu_jobs.start()
        if ready:
            line.show(state.text() if state is not None else f"no answer from {demo.url} just now")
        elif time.monotonic() - begun > _READY_WITHIN_S:
            line.note(
                f"no answer from {demo.url} for {_READY_WITHIN_S:g} s; its log is in logs/api.log of the data folder"
            )
            return True
        # Until the API answers, look often: the wait is what a person sees.
        stop.wait(max(0.0, min(1.0 if ready else 0.1, deadline - time.monotonic())))
    return False


def _ended(
    demo: _Demo, supervisor: Supervisor, line: LiveLine, started_ns: int, failed: bool, *, must_measure: bool
) -> int:
    """Stop in order, summarise; the exit code."""
    line.note("stopping: agent, collector, API")
    sentences = supervisor.stop(["agent", "collector"])
    summary = Summary.read(demo.url, started_ns, demo.before)
    sentences += supervisor.stop(["api"])
    for sentence in sentences:
        line.note(paint(sentence, "yellow", sys.stdout))
    if summary is not None:
        line.note(summary_text(summary, *_analysed(demo, started_ns)))
    measured = summary is not None and summary.measured
    if must_measure and not measured:
        print("error: nothing was measured; see the logs in the data folder", file=sys.stderr)
    return 1 if failed or sentences or (must_measure and not measured) else 0
