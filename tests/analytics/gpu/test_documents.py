"""Rules that name public documents name known ones, and only where they may."""

import pytest

from analytics.errors import SignatureFileError
from analytics.gpu.accuracy_labels import repository_of
from analytics.gpu.documents import DOCUMENTS_FILE, documents
from analytics.gpu.signature_files import read_signatures, shipped_signatures, signatures_of
from analytics.gpu.signatures import Signature

RULE = """signatures:
  - id: own
    reason: disk_full
    role: root
    pattern: 'the disk of \\w+ is full'
    documents: [{name}]
    examples: ['the disk of io7 is full']
"""


def documented() -> list[Signature]:
    return [one for one in shipped_signatures() if one.documents]


def test_documents_are_public_and_those_of_a_forge_name_their_project() -> None:
    for document in documents().values():
        assert document.address.startswith("https://")
        if "github.com/" in document.address:
            assert document.repository == repository_of(document.address)


def test_every_document_is_named_by_some_rule() -> None:
    assert {name for one in documented() for name in one.documents} == set(documents())


def test_rules_written_after_mistakes_on_certain_logs_name_no_document() -> None:
    late = {one.id for one in read_signatures(DOCUMENTS_FILE.with_name("signatures") / "further_texts.yaml")}
    assert len(late) > 20
    assert late.isdisjoint(one.id for one in documented())


def test_rules_of_the_drivers_numbers_come_from_its_catalogue() -> None:
    driver = [one for one in shipped_signatures() if one.pattern.startswith("NVRM: Xid")]
    assert {one.documents for one in driver} == {("nvidia-xid",)}


def test_an_unknown_document_is_refused_by_name() -> None:
    assert signatures_of(RULE.format(name="slurm"), "own.yaml")[0].documents == ("slurm",)
    with pytest.raises(SignatureFileError, match=r"own\.yaml:2 \(own\): documents: 'a-blog' is not in documents\.yaml"):
        signatures_of(RULE.format(name="a-blog"), "own.yaml")
