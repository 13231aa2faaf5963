"""Logs of one job to one diagnosis: roots across ranks and nodes, abstention, bad input."""

import gzip
import random
from dataclasses import asdict

import pytest

from analytics.gpu.classifier import diagnose, diagnose_logs
from analytics.gpu.cleaning import Origin
from analytics.gpu.node_events import JobFacts
from tests.analytics.gpu.plain_scan import SECOND, scanned, shipped_scanner

OOM = "RuntimeError: CUDA out of memory. Tried to allocate 20.00 GiB"
TRACEBACK = ["Traceback (most recent call last):", '  File "train.py", line 7, in <module>', "    step(batch)"]
STEPS = [f"step {n} loss 0.5" for n in range(40)]


def watchdog(rank: int, sequence: int = 91) -> str:
    return (
        f"[rank{rank}]: [Rank {rank}] Watchdog caught collective operation timeout: WorkNCCL(SeqNum={sequence}, "
        "OpType=ALLREDUCE, Timeout(ms)=600000) ran for 600029 milliseconds before timing out."
    )


def at(second: int, line: str) -> str:
    return f"2024-05-01T{10 + second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z {line}"


def test_an_out_of_memory_is_answered_with_its_line_and_what_to_do() -> None:
    found = diagnose([scanned([*STEPS, *TRACEBACK, OOM])])
    assert (found.status, found.reason, found.category) == ("answered", "gpu_oom", "ai_engine")
    assert found.action
    assert (found.evidence[0].file, found.evidence[0].number, found.evidence[0].text) == ("log", 44, OOM)
    assert found.confidence > 0.8
    assert found.template is None
    assert found.lines == 44


def test_the_files_name_is_no_input() -> None:
    lines = [*STEPS, *TRACEBACK, OOM]
    plain, misleading = diagnose([scanned(lines, "a")]), diagnose([scanned(lines, "gpu_ecc_node_failure.txt")])
    assert (plain.reason, plain.confidence) == (misleading.reason, misleading.confidence)


def test_a_timeout_elsewhere_follows_from_the_rank_that_failed() -> None:
    waiting = [scanned([*STEPS, watchdog(rank)], f"rank{rank}.log", rank) for rank in (0, 1, 2)]
    culprit = scanned([*STEPS, *TRACEBACK, OOM], "rank3.log", 3)
    found = diagnose([*waiting, culprit])
    assert (found.reason, found.rank) == ("gpu_oom", 3)
    assert {one.reason for one in found.cascades} == {"nccl_timeout"}
    assert found.silent_ranks == ()


@pytest.mark.parametrize(
    "text",
    [
        "Memory cgroup out of memory: Killed process 8123 (python) total-vm:9kB, UID:7 pgtables:9kB oom_score_adj:0",
        "oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/slurm/job_5/step_0/task_0,task=python,pid=8123,uid=0",
    ],
)
def test_figures_of_the_kernels_oom_killer_are_no_counts_of_nothing(text: str) -> None:
    assert diagnose([scanned([text], "kernel.log")], JobFacts(failed=True)).guess == "cpu_oom"
    counts = scanned(["memory.events: oom_kill 0", "node_vmstat_oom_kill_total 0, out of memory: oom_kills: 0"])
    assert diagnose([counts], JobFacts(failed=True)).guess is None


def test_the_kernels_want_of_memory_and_the_loader_it_killed_are_one_cause() -> None:
    job = scanned([*STEPS, *TRACEBACK, "RuntimeError: DataLoader worker (pid 8123) is killed by signal: Killed."])
    kernel = scanned(["[  77.2] Out of memory: Killed process 8123 (python) total-vm:99123456kB"], "kernel.log")
    for scans in ([job, kernel], [kernel, job]):
        found = diagnose(scans, JobFacts(failed=True))
        assert (found.status, found.reason) == ("answered", "cpu_oom")
        assert "dataloader_killed" in {one.reason for one in found.cascades}


def test_ranks_interleaved_in_one_file_are_told_apart() -> None:
    lines = [f"[rank{n % 4}]: {line}" for n, line in enumerate(STEPS)]
    lines += [f"[rank2]: {line}" for line in (*TRACEBACK, OOM)] + [watchdog(0), watchdog(1), watchdog(3)]
    found = diagnose([scanned(lines)])
    assert (found.reason, found.rank) == ("gpu_oom", 2)


def test_the_rank_is_taken_from_the_launchers_summary_where_no_line_tells_it() -> None:
    summary = [
        "Root Cause (first observed failure):",
        "[0]:",
        "  time      : 2025-01-02_03:04:05",
        "  host      : gpu-3",
        "  rank      : 5 (local_rank: 5)",
        "  exitcode  : 1 (pid: 77)",
    ]
    found = diagnose([scanned([*STEPS, *TRACEBACK, OOM, *summary])])
    assert (found.reason, found.rank) == ("gpu_oom", 5)


def test_without_a_root_the_silent_ranks_are_named() -> None:
    lines = [at(second, f"[rank{rank}]: step {second}") for second in range(0, 60, 10) for rank in range(4)]
    lines += [at(second, f"[rank{rank}]: waiting") for second in (100, 600) for rank in (0, 1, 3)]
    lines += [at(700, watchdog(rank)) for rank in (0, 1, 3)]
    found = diagnose([scanned(lines)])
    assert found.guess == "nccl_timeout"
    assert found.silent_ranks == (2,)


def test_what_was_survived_long_before_the_timeout_is_not_its_root() -> None:
    lines = [at(0, "[rank2]: " + OOM), *(at(second, "[rank2]: step") for second in range(10, 7_000, 60))]
    lines += [at(7_200, watchdog(rank)) for rank in (0, 1, 3)]
    found = diagnose([scanned(lines)])
    assert found.guess == "nccl_timeout"
    assert any("outside the window" in note for note in found.notes)


def test_what_the_teardown_writes_is_not_the_root_of_a_timeout() -> None:
    found = diagnose([scanned([*STEPS, watchdog(0), "[rank0]: Segmentation fault (core dumped)"])])
    assert found.guess == "nccl_timeout"


def test_a_kernel_log_of_the_node_is_joined_and_of_another_is_not() -> None:
    kernel = [
        "2024-05-01T10:20:00Z gpu-7 kernel: NVRM: Xid (PCI:0000:07:00): 79, pid=77, GPU has fallen off the bus.",
        "2024-05-01T10:20:01Z gpu-9 kernel: NVRM: Xid (PCI:0000:09:00): 48, pid=77, Double Bit ECC Error",
    ]
    start = 1_714_557_600 * SECOND  # 2024-05-01 10:00:00 UTC
    facts = JobFacts(nodes=frozenset({"gpu-7"}), start_ns=start, end_ns=start + 3_600 * SECOND)
    job = scanned([*STEPS, *TRACEBACK, "RuntimeError: CUDA error: unspecified launch failure"], "job.log")
    found = diagnose([job, scanned(kernel, "messages")], facts)
    assert (found.reason, found.node) == ("gpu_fell_off_bus", "gpu-7")
    assert any("other nodes or times" in note for note in found.notes)


def test_a_handled_exception_of_a_job_that_ended_well_is_no_failure() -> None:
    lines = [*STEPS, *TRACEBACK, "KeyError: 'mask'", *STEPS, "training finished after 3 epochs"]
    found = diagnose([scanned(lines)])
    assert (found.status, found.reason, found.evidence) == ("no_failure", None, ())


def test_a_failure_with_much_ordinary_text_behind_it_is_not_answered() -> None:
    lines = [*STEPS, *TRACEBACK, "KeyError: 'mask'", *STEPS]
    assert diagnose([scanned(lines)]).status == "no_failure"
    found = diagnose([scanned(lines)], JobFacts(failed=True))
    assert (found.status, found.guess) == ("abstained", "semantic_error")
    assert any("went on after" in note for note in found.notes)


def test_what_was_survived_leaves_the_place_to_what_was_not() -> None:
    found = diagnose([scanned([*STEPS, OOM, *STEPS, "Segmentation fault (core dumped)"])])
    assert found.guess == "core_dump"


def test_source_code_that_a_traceback_quotes_is_no_finding() -> None:
    frame = ['  File "train.py", line 7, in guard', '    raise RuntimeError("CUDA out of memory")']
    found = diagnose([scanned([TRACEBACK[0], *frame, "TypeError: no step"])])
    assert found.guess == "semantic_error"


def test_a_count_of_none_is_no_finding() -> None:
    assert diagnose([scanned([*STEPS, "CUDA out of memory events: 0, NVLink errors: none"])]).status == "no_failure"


def test_what_no_rule_knows_is_abstained_with_its_masked_tail() -> None:
    found = diagnose([scanned([*STEPS, "zorble flange 17 decoupled", "exited with exit code 3"])])
    assert (found.status, found.guess, found.confidence) == ("abstained", None, 0.0)
    assert found.template is not None
    assert "zorble flange <number> decoupled" in found.template


def test_a_healthy_log_shows_no_failure_unless_the_scheduler_says_so() -> None:
    assert diagnose([scanned(STEPS)]).status == "no_failure"
    assert diagnose([scanned(STEPS)], JobFacts(failed=True)).status == "abstained"
    assert diagnose([scanned([*TRACEBACK, OOM])], JobFacts(failed=False)).status == "no_failure"


@pytest.mark.parametrize(
    "log",
    [
        b"",
        b"\n\n",
        bytes(range(256)) * 400,
        b"Traceback (most recent call last):",
        b"\r".join(b"Epoch %d: 100%%" % n for n in range(3_000)) + b"\r" + OOM.encode(),
        b"\xff\xfe" + "KeyError: 'ü'\n".encode("utf-16-le"),
        b"[rank99999999999999999999]: " + OOM.encode(),
        b"x" * 3_000_000,
        (OOM.encode() + b"\n") * 3_000,
    ],
    ids=["empty", "blank", "binary", "cut off", "progress", "utf-16", "absurd rank", "one long line", "repeated"],
)
def test_bad_input_neither_hangs_nor_crashes(log: bytes) -> None:
    found = diagnose_logs([(Origin("log"), [log[:70_000], log[70_000:]])], shipped_scanner())
    assert found.bytes == len(log)
    assert len(found.evidence) <= 12
    assert asdict(found)["status"] in ("answered", "abstained", "no_failure")


def test_a_progress_bar_hides_no_failure_behind_its_carriage_returns() -> None:
    log = b"\r".join(b"Epoch %d: 100%%" % n for n in range(300)) + b"\r" + OOM.encode()
    assert diagnose_logs([(Origin("log"), [log])], shipped_scanner()).reason == "gpu_oom"


def test_a_diagnosis_is_the_same_each_time() -> None:
    lines = [*STEPS, *TRACEBACK, OOM, "ConnectionResetError: [Errno 104] Connection reset by peer"]
    assert diagnose([scanned(lines)]) == diagnose([scanned(lines)])


def test_a_rank_that_ended_well_does_not_vouch_for_another_in_the_same_file() -> None:
    died = [f"[rank1]: {line}" for line in (*TRACEBACK, OOM)]
    found = diagnose([scanned([*STEPS, *died, "[rank0]: Training finished successfully."])])
    assert (found.reason, found.rank) == ("gpu_oom", 1)
    assert diagnose([scanned([*STEPS, *died, "Training finished successfully."])]).status == "no_failure"


@pytest.mark.parametrize(
    ("start", "told"),
    [
        (random.Random(1).randbytes(20_000), "log is binary, no text"),
        (b"\x28\xb5\x2f\xfd\x04\x00\x01", "log is packed by zstd: unpack it first"),
        (gzip.compress(b"step 1", mtime=0), "log is packed by gzip: unpack it first"),
        (b"\x7fELF\x02\x01\x01\0\0\0", "log is an ELF program or core"),
        (b"", "the logs are empty: they tell nothing of the job"),
    ],
    ids=["random", "zstd", "gzip", "program", "empty"],
)
def test_what_is_no_log_is_told(start: bytes, told: str) -> None:
    assert told in diagnose_logs([(Origin("log"), [start])], shipped_scanner()).notes


@pytest.mark.parametrize(
    "start",
    [
        b"\0" * 4_096 + b"step 1\n",
        "step 1 épuisé\n".encode("utf-16-le"),
        "错误 内存 不足\n".encode("gbk"),
        b"\x1b[32mstep 1\x1b[0m\r 10%|#|\r\n",
        b"BZh is no archive here\n",
    ],
    ids=["hole", "utf-16", "gbk", "colours", "words"],
)
def test_texts_of_any_encoding_and_logs_with_holes_are_logs(start: bytes) -> None:
    assert diagnose_logs([(Origin("log"), [start])], shipped_scanner()).notes == ()


@pytest.mark.parametrize(
    "line",
    [
        "sample 17: {'text': 'I get ValueError: too many values to unpack, what now?'}",
        """{"prompt": "why TypeError: 'int' object is not callable?", "completion": "call a function"}""",
        "generated: \"Q: KeyError: 'step' in my script\"",
        """{"instruction": "mend ModuleNotFoundError: No module named 'x'", "input": ""}""",
        "Prompt: the user asks about 'AttributeError: x has no y'",
    ],
)
def test_data_that_speaks_of_errors_is_no_failure(line: str) -> None:
    assert diagnose([scanned([*STEPS[:3], line])]).status == "no_failure"


@pytest.mark.parametrize(
    "line",
    [
        "KeyError: 'no answer: one key'",
        "ValueError: sample 17 has text: 'ValueError: x'",
        "Error in sample 3: 'KeyError: x'",
        "answers: 'all' IndexError: list index out of range",
        "Error executing job with overrides: ['sample=1'] KeyError: 'x'",
    ],
)
def test_an_error_beside_quoted_data_is_a_failure(line: str) -> None:
    found = diagnose([scanned([*STEPS[:3], *TRACEBACK, line])], JobFacts(failed=True))
    assert found.guess in {"semantic_error", "incorrect_inputs"}
