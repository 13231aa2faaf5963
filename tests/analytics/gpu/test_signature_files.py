"""Files of rules are read strictly, and every fault is told with its place."""

from pathlib import Path

import pytest

from analytics.errors import MissingLibraryError, SignatureFileError
from analytics.gpu import signature_files, signature_patterns
from analytics.gpu.signature_files import read_signatures, shipped_signatures, signatures_of, with_site_file
from analytics.gpu.signature_patterns import fault_of
from analytics.gpu.taxonomy import taxonomy

ROW = """
  - id: {id}
    reason: host_hw
    role: root
    pattern: '{pattern}'
    examples: [board burnt]
"""


def file_of(*rows: str) -> str:
    return "signatures:" + "".join(rows)


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(SignatureFileError) as caught:
        signatures_of(text, "site.yaml")
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_what_a_row_does_not_say_comes_from_the_taxonomy() -> None:
    (one,) = signatures_of(file_of(ROW.format(id="a", pattern="board burnt")), "site.yaml")
    reason = taxonomy()["host_hw"]
    assert (one.category, one.retry, one.action) == (reason.category, reason.retry, reason.action)
    assert (one.scope, one.weight, one.sources) == ("line", 50, ())


def test_a_row_may_put_a_reason_into_another_category() -> None:
    row = ROW.format(id="a", pattern="board burnt") + "    category: user\n    retry: backoff\n    action: wait\n"
    (one,) = signatures_of(file_of(row), "site.yaml")
    assert (one.category, one.retry, one.action) == ("user", "backoff", "wait")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("    wieght: 7", "site.yaml:2 (a): wieght: no such field; known are id, reason,"),
        ("    weight: heavy", "site.yaml:2 (a): weight: Expected `int`, got `str`"),
        ("    weight: 0", "site.yaml:2 (a): weight: 0; wanted 1 to 100"),
        ("    sources: [printer]", "site.yaml:2 (a): sources[0]: Invalid enum value 'printer'"),
        ("    not_pattern: '(['", "site.yaml:2 (a): not_pattern: '([' is not RE2: missing ]"),
        ("    role: culprit", "site.yaml:7: role: stands twice in one row; wanted once"),
    ],
)
def test_a_fault_is_told_with_file_line_rule_and_field(line: str, said: str) -> None:
    (problem,) = problems(file_of(ROW.format(id="a", pattern="board burnt") + line + "\n"))
    assert problem.startswith(said)


def test_all_faults_of_a_file_are_told_at_once() -> None:
    rows = [ROW.format(id="a", pattern=pattern) for pattern in ("board burnt", "(?=x)", "x*")]
    rows.append(ROW.format(id="b", pattern="burnt").replace("host_hw", "gremlins"))
    rows.append(ROW.format(id="c", pattern="burnt").replace("[board burnt]", "[]"))
    told = problems(file_of(*rows))
    assert [one.split(": ")[0] for one in told] == [
        "site.yaml:8 (a)",
        "site.yaml:8 (a)",
        "site.yaml:14 (a)",
        "site.yaml:14 (a)",
        "site.yaml:20 (b)",
        "site.yaml:26 (c)",
    ]
    assert "'gremlins' is not in the taxonomy; known are gpu_ecc, " in told[4]
    assert "stands in line 2, too" in told[1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds NoneType; wanted one list `signatures:`"),
        ("- a", "holds list; wanted one list `signatures:`"),
        ("signatures: 7", "holds ['signatures']; wanted one list"),
        ("signatures: []\nrules: []", "holds ['rules', 'signatures']; wanted one list"),
        ("signatures: [", "is no YAML: while parsing"),
        ("signatures: [7]", "site.yaml:1: a row is int; wanted fields"),
        ("signatures: [!!python/object:os.system {}]", "is no YAML: could not determine a constructor"),
        ("[" * 300_000, "nests deeper than 8"),
        ("{a: " * 300_000, "nests deeper than 8"),
        ("signatures: [&a {id: x}, *a]", "site.yaml:1: *a: an alias; write the row out"),
    ],
)
def test_what_is_no_file_of_rules_is_refused(text: str, said: str) -> None:
    (problem,) = problems(text)
    assert said in problem


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rules.yaml"
    with pytest.raises(SignatureFileError, match="No such file or directory; wanted a YAML file"):
        read_signatures(path)
    path.write_bytes(b"signatures: \xff")
    with pytest.raises(SignatureFileError, match="byte 12 is not UTF-8"):
        read_signatures(path)
    monkeypatch.setattr(signature_files, "LARGEST_BYTES", 5)
    with pytest.raises(SignatureFileError, match="has over 5 bytes; wanted that many at most"):
        read_signatures(path)


def test_a_site_s_rule_replaces_the_shipped_one_of_its_id_and_others_are_added(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(file_of(ROW.format(id="gpu-oom-torch", pattern="burnt"), ROW.format(id="own", pattern="board")))
    together = with_site_file(path)
    assert with_site_file(None) == shipped_signatures()
    assert [one.id for one in together] == [*(one.id for one in shipped_signatures()), "own"]
    assert next(one for one in together if one.id == "gpu-oom-torch").reason == "host_hw"


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("a(?=b)", "no look-around"),
        (r"(abc)\1", "no back references"),
        ("(abcd+)+", None),
        ("(a+)+burnt", "repeats a repeat without end"),
        ("(?:a*b?)*burnt", "repeats a repeat without end"),
        (r"(?:foo\s+)+", None),
        ("(.*)*burnt", "repeats a repeat without end"),
        ("burnt" + "[α-ω]{900}" * 6, "steps; wanted 10000 at most"),
        ("x" * 2_001, "2001 characters; wanted 2000 at most"),
        ("burnt|", "matches the empty text"),
        ("ab", "no fixed text of 3 characters"),
        (r"\d+ [a-z]+", "no fixed text of 3 characters"),
        ("abc)(def", "is not RE2"),
    ],
)
def test_patterns_that_could_not_be_scanned_for_are_refused(pattern: str, said: str | None) -> None:
    fault = fault_of(pattern, searched_for=True)
    assert (fault is None) if said is None else (fault is not None and said in fault)


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(name)

    signature_patterns.re2.cache_clear()
    monkeypatch.setattr("importlib.import_module", absent)
    with pytest.raises(MissingLibraryError, match=r"install tailwatch\[analytics\]"):
        signature_patterns.re2()


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no device that never ends")
def test_a_file_without_an_end_is_refused() -> None:
    with pytest.raises(SignatureFileError, match="split the file"):
        read_signatures(Path("/dev/zero"))
