"""`tailwatch gpu retry-advice` and `tailwatch gpu simulate`."""

import io
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tailwatch.cli import main
from tailwatch.errors import TailwatchError
from tailwatch.gpu_retry_states import KEPT, generations, read_state, save_state

ATTEMPTS = """\
job,number,submitted,outcome,start,end,nodes,gpus,reason,template
train-1,1,2026-11-22T10:00:00Z,failed,2026-11-22T10:05:00Z,2026-11-22T12:05:00Z,n1;n2,16,gpu_ecc,uncorrectable
train-2,1,2026-11-22T10:00:00Z,failed,2026-11-22T10:05:00Z,2026-11-22T10:06:00Z,n3,1,syntax_error,invalid syntax
train-3,1,2026-11-22T10:00:00Z,failed,2026-11-22T10:05:00Z,2026-11-22T12:05:00Z,n1,8,gpu_ecc,uncorrectable
train-3,2,2026-11-22T12:10:00Z,passed,2026-11-22T12:15:00Z,2026-11-22T22:15:00Z,n4,8,,
train-4,1,2026-11-22T10:00:00Z,failed,2026-11-22T10:05:00Z,2026-11-22T10:10:00Z,n4,8,storage_io,stale handle
"""


@pytest.fixture
def attempts(tmp_path: Path) -> str:
    path = tmp_path / "attempts.csv"
    path.write_text(ATTEMPTS, encoding="utf-8")
    return str(path)


def advised(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert main(["gpu", "retry-advice", *arguments, "--explore", "0", "--output", "json"]) == 0
    document: dict[str, object] = json.loads(capsys.readouterr().out)
    return document


def decisions(document: dict[str, object]) -> dict[str, str]:
    return {each["job"]: each["decision"] for each in document["advice"]}  # type: ignore[attr-defined]


def test_advice_is_given_for_each_job_that_failed_last(attempts: str, capsys: pytest.CaptureFixture[str]) -> None:
    document = advised(capsys, attempts)
    assert (document["jobs"], document["failed"], document["learned"]) == (4, 3, 0)
    assert decisions(document) == {"train-1": "other_node", "train-2": "never", "train-4": "backoff"}


def test_the_text_says_what_to_do_and_why(attempts: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpu", "retry-advice", attempts, "--explore", "0"]) == 0
    text = capsys.readouterr().out
    assert "4 jobs, 3 of which failed last" in text
    assert "nothing learned yet" in text
    assert "retry on another node, not on n1 n2" in text
    assert "the rule for this reason says that a retry does not help" in text
    assert "retry in 60 s" in text


def test_standard_input_may_be_csv_or_json(
    attempts: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"job": "j", "number": 1, "submitted": "2026-11-22T10:00:00Z", "outcome": "timeout"}
    for text, jobs in ((ATTEMPTS, 4), (json.dumps([row]), 1)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert advised(capsys, "-")["jobs"] == jobs


def test_outcomes_are_learned_once_and_kept(attempts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "retry.state"
    first = advised(capsys, attempts, "--state", str(state), "--learn")
    assert first["learned"] == 1
    assert first["state"]["generation"] == 1  # type: ignore[index]
    assert first["advice"][0]["probability"] > 0.73  # type: ignore[index]
    saved = state.read_bytes()
    second = advised(capsys, attempts, "--state", str(state), "--learn")
    assert second["learned"] == 0
    assert state.read_bytes() == saved
    assert second["advice"] == first["advice"]


def test_an_earlier_generation_is_put_into_use_again(
    attempts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "retry.state"
    advised(capsys, attempts, "--state", str(state), "--learn")
    more = tmp_path / "more.csv"
    more.write_text(ATTEMPTS.replace("train-", "other-"), encoding="utf-8")
    assert advised(capsys, str(more), "--state", str(state), "--learn")["state"]["outcomes"] == 2  # type: ignore[index]
    assert main(["gpu", "retry-advice", "--state", str(state), "--roll-back", "1"]) == 0
    assert "went back from generation 2 to 1; now generation 3" in capsys.readouterr().err
    assert advised(capsys, attempts, "--state", str(state))["state"]["outcomes"] == 1  # type: ignore[index]
    assert generations(state) == [1, 2]
    assert main(["gpu", "retry-advice", "--state", str(state), "--roll-back", "9"]) == 1
    assert "no generation 9" in capsys.readouterr().err


def test_processes_that_learn_at_once_wait_for_each_other(tmp_path: Path) -> None:
    state, count = tmp_path / "retry.state", 4
    together = threading.Barrier(count)

    def learn(number: int) -> int:
        file = tmp_path / f"{number}.csv"
        file.write_text(ATTEMPTS.replace("train-", f"t{number}-"), encoding="utf-8")
        together.wait()
        return main(["gpu", "retry-advice", str(file), "--state", str(state), "--learn"])

    with ThreadPoolExecutor(count) as pool:
        assert list(pool.map(learn, range(count))) == [0] * count
    assert generations(state) == [1, 2, 3]
    assert read_state(state, None, 0).model.quality.outcomes == count


def test_a_state_that_changed_since_it_was_read_is_not_overwritten(attempts: str, tmp_path: Path) -> None:
    state = tmp_path / "retry.state"
    stale = read_state(state, None, 0)
    assert main(["gpu", "retry-advice", attempts, "--state", str(state), "--learn"]) == 0
    kept = state.read_bytes()
    with pytest.raises(TailwatchError, match="changed since it was read"):
        save_state(stale, "tests")
    assert state.read_bytes() == kept


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_one_can_go_back_where_the_state_in_use_is_damaged(
    damage: str, attempts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "retry.state"
    advised(capsys, attempts, "--state", str(state), "--learn")
    more = tmp_path / "more.csv"
    more.write_text(ATTEMPTS.replace("train-", "other-"), encoding="utf-8")
    advised(capsys, str(more), "--state", str(state), "--learn")
    if damage == "cut":
        state.write_bytes(state.read_bytes()[:-1])
        assert main(["gpu", "retry-advice", attempts, "--state", str(state)]) == 1
        assert "go back to an earlier generation" in capsys.readouterr().err
    else:
        state.unlink()
    assert main(["gpu", "retry-advice", "--state", str(state), "--roll-back", "1"]) == 0
    assert "went back from generation 2 to 1; now generation 3" in capsys.readouterr().err
    assert advised(capsys, attempts, "--state", str(state))["state"]["outcomes"] == 1  # type: ignore[index]


def test_so_many_generations_are_kept_and_no_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state, file = tmp_path / "retry.state", tmp_path / "attempts.csv"
    for number in range(KEPT + 3):
        file.write_text(ATTEMPTS.replace("train-", f"t{number}-"), encoding="utf-8")
        advised(capsys, str(file), "--state", str(state), "--learn")
    assert generations(state) == list(range(3, KEPT + 3))
    assert not list(tmp_path.glob(".*"))


def test_a_site_knows_better(attempts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    priors = tmp_path / "priors.yaml"
    priors.write_text("reasons: {gpu_ecc: {success: 0.02, weight: 9, source: lablup}}", encoding="utf-8")
    found = advised(capsys, attempts, "--priors", str(priors))
    assert found["advice"][0]["probability"] == pytest.approx(0.02)  # type: ignore[index]
    assert decisions(found)["train-1"] == "other_node"  # nothing else speaks against it


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no attempts were given"),
        (["FILE", "--learn"], "--learn has nowhere to keep"),
        (["--roll-back", "1"], "--roll-back has nowhere to keep"),
        (["absent.csv"], "No such file"),
        (["FILE", "--state", "FILE"], "no state of retry advice"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    arguments: list[str], said: str, attempts: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gpu", "retry-advice", *(attempts if each == "FILE" else each for each in arguments)]) == 1
    assert said in capsys.readouterr().err


def test_a_wrong_cell_is_named_alike_by_advice_and_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "attempts.csv"
    for text, said in (
        (ATTEMPTS.replace(",failed,", ",fialed,", 1), "attempts.csv, row 1 (counted from 1, a header aside), column"),
        (ATTEMPTS.replace("00Z,failed", "00,failed", 1), "'2026-11-22T10:00:00'; a time with its offset"),
        ("job,outcome,gpu\nj,failed,1\n", "column gpu is not known"),
    ):
        path.write_text(text, encoding="utf-8")
        errors = []
        for command in ("retry-advice", "report"):
            assert main(["gpu", command, str(path)]) == 1
            errors.append(capsys.readouterr().err)
        assert said in errors[0]
        assert errors[0] == errors[1]


def test_standard_input_is_called_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"job,outcome\n,failed\n")))
    assert main(["gpu", "retry-advice", "-"]) == 1
    assert "standard input, row 1 (counted from 1, a header aside), column job: nothing" in capsys.readouterr().err


def test_what_sacct_prints_is_advised_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sacct.txt"
    path.write_text(
        "JobIDRaw|User|Partition|State|Submit|Start|End|NodeList|AllocTRES\n"
        "7|ann|gpu|NODE_FAIL|1767225600|1767225700|1767229300|gpu[01-02]|gres/gpu=8\n"
        "8|bob|gpu|TIMEOUT|1767225600|1767225700|1767229300|gpu03|gres/gpu=8\n"
        "8|bob|gpu|COMPLETED|1767225600|1767229400|1767239300|gpu03|gres/gpu=8\n",
        encoding="utf-8",
    )
    found = advised(capsys, str(path), "--state", str(tmp_path / "s"), "--learn")
    assert (found["jobs"], found["failed"], found["learned"]) == (2, 1, 1)
    assert found["advice"][0]["reason"] == "node_failure"  # type: ignore[index]
    assert found["advice"][0]["avoid"] == ["gpu01", "gpu02"]  # type: ignore[index]


def test_the_simulation_prints_the_worst_case_and_calls_itself_simulated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpu", "simulate", "--jobs", "10", "--seed", "3"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("[simulated] 10 jobs that fail, seed 3, 16 cells")
    assert text.count("[simulated]") == 17
    for policy in ("always retry", "never retry", "retry by the reason's rule", "the advice without learning"):
        assert text.count(policy) == 17
    assert main(["gpu", "simulate", "--jobs", "10", "--seed", "3", "--output", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["simulated"] is True
    assert len(document["cells"]) == 16
