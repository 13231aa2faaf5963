"""A line that a pattern matches holds one of its fixed texts, whatever the pattern."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.gpu.scanning_literals import Text, Texts, demand_of, first_texts, nests_repeats, required, texts_of
from analytics.gpu.scanning_syntax import Anything, Literal, Repeat, Sequence, parsed
from analytics.gpu.signature_files import shipped_signatures
from analytics.gpu.signature_patterns import compiled, loosely_compiled

WORDS = st.sampled_from(["burnt", "Link", "xid", "a", "bc", "time out", "é", "<b>", "0x1f"])


CLASSES = [(r"\d", "7"), ("[a-z]", "q"), (".", "!"), ("[_ ]", "_"), (r"[^\]x]", "y"), (r"\.", "."), (r"[\d]", "5")]
NOTHINGS = [("(?:)", ""), ("(?i)", ""), ("", "")]


@st.composite
def patterns(draw: st.DrawFn, depth: int = 3) -> tuple[str, str]:
    """(a pattern, a text that it matches)."""
    kind = draw(st.sampled_from(["word", "class", "choice", "row", "repeat", "nothing"])) if depth else "word"
    if kind == "word":
        word = draw(WORDS)
        return word, word
    if kind in ("class", "nothing"):
        return draw(st.sampled_from(CLASSES if kind == "class" else NOTHINGS))
    if kind == "row":
        parts = draw(st.lists(patterns(depth - 1), min_size=1, max_size=4))
        return "".join(one for one, _ in parts), "".join(text for _, text in parts)
    if kind == "choice":
        branches = draw(st.lists(patterns(depth - 1), min_size=1, max_size=3))
        return "(?:" + "|".join(one for one, _ in branches) + ")", draw(st.sampled_from(branches))[1]
    inner, text = draw(patterns(depth - 1))
    signs = [("{2}", 2), ("{1,3}", 3), ("{2,}", 2), ("*", 0), ("+", 1), ("+?", 2), ("?", 0), ("?", 1)]
    sign, count = draw(st.sampled_from(signs))
    return f"(?:{inner}){sign}", text * count


def standing(texts: Texts, line: str) -> Texts:
    return frozenset(one for one in texts if one.letters in (line.lower() if one.any_case else line))


@given(made=patterns(), around=st.sampled_from(["", "xx ", "[rank1]: "]), flags=st.sampled_from(["", "(?i)"]))
def test_every_match_holds_what_its_pattern_demands(made: tuple[str, str], around: str, flags: str) -> None:
    pattern, text = flags + made[0], made[1].swapcase() if flags else made[1]
    assert compiled(pattern).search(text) is not None
    line = around + text
    assert not first_texts(pattern) or standing(first_texts(pattern), line)
    assert not required(pattern) or any(one in line.lower() for one in required(pattern))
    demand = demand_of(pattern)
    assert demand.holds(standing(texts_of(demand), line))


@given(made=patterns())
def test_without_anchors_everything_still_matches_in_a_longer_line(made: tuple[str, str]) -> None:
    pattern, text = made
    assert loosely_compiled(f"^{pattern}$").search("before " + text + " behind") is not None


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        ("CUDA out of memory", {"cuda out of memory"}),
        (r"(?i)loss\b.{0,20}\bnan\b", {"nan"}),
        (r"NVRM: Xid \((?P<pci>[^)]+)\): (?P<xid>\d+)", {"nvrm: xid ("}),
        ("(?:ENOSPC|No space left on device)", {"enospc", "no space left on device"}),
        ("NODE[_ ]FAIL(?:URE)?", {"node_fail", "node fail"}),
        (r"colou?r \Q(x)\E", {"color (x)", "colour (x)"}),
        ("burnt|burnt board", {"burnt"}),
        (r"\d+|burnt", set()),
        ("", set()),
        (r"\x41bc\x{1F600}def", {"def"}),
        (r"[[:alpha:]]+ing [.]so", {"ing .so"}),
        ("a{2}bcd{x}", {"abcd{x}"}),
        ("burn(?:ed)+ board", {"ed board"}),
    ],
)
def test_the_rarest_texts_are_chosen(pattern: str, texts: set[str]) -> None:
    assert required(pattern) == texts


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        ("Link down", {Text("Link down")}),
        ("(?i)Link down", {Text("link down", any_case=True)}),
        ("(?i:Link) down", {Text("link down", any_case=True)}),
        ("(?i:linked|(?-i)Burnt)|Burst", {Text("linked", any_case=True), Text("Burnt"), Text("Burst")}),
        ("((?i)link.)Burnt board", {Text("Burnt board")}),
        ("(?is-m:LINK)", {Text("link", any_case=True)}),
        ("(?i)77 [Xy]Z", {Text("77 xz", any_case=True), Text("77 yz", any_case=True)}),
    ],
)
def test_case_counts_where_the_pattern_says_so(pattern: str, texts: set[Text]) -> None:
    assert first_texts(pattern) == texts


@pytest.mark.parametrize(
    ("pattern", "line", "met"),
    [
        (r"disk\d+: (?:I/O .{0,40}timeout|gone for good)|md/raid\S*: broken", "disk7: I/O 4 timeout", True),
        (r"disk\d+: (?:I/O .{0,40}timeout|gone for good)|md/raid\S*: broken", "the timeout is 30 s", False),
        (r"disk\d+: (?:I/O .{0,40}timeout|gone for good)|md/raid\S*: broken", "disk7: gone for good", True),
        (r"=+ .{0,80}\d+ passed", "test_a passed", False),
        (r"=+ .{0,80}\d+ passed", "=== 3 passed", True),
    ],
)
def test_a_text_counts_only_beside_the_others_that_its_pattern_demands(pattern: str, line: str, met: bool) -> None:
    demand = demand_of(pattern)
    assert demand.holds(standing(texts_of(demand), line)) == met


def test_fixed_texts_of_shipped_rules_are_few_and_rare() -> None:
    all_texts = {text for one in shipped_signatures() for text in required(one.pattern)}
    assert min(map(len, all_texts)) >= 3
    assert all_texts.isdisjoint({"error", "failed", "rank", "loss", "warning", "worker", "info", "inf", "norm"})
    ordinary = (
        "step 7 | loss 0.31 | lr 1e-4 | grad_norm 0.9 | 0 errors | eval error_rate=0.01 | workers 8 | rank 3 info"
    )
    assert [text for text in all_texts if text in ordinary] == []


def test_trees_are_what_patterns_say() -> None:
    assert parsed("a[0-9]*") == Sequence((Literal("a"), Repeat(Anything(), 0, None)))
    assert parsed("(?P<name>x){2,5}?") == Repeat(Literal("x"), 2, 5)
    assert [nests_repeats(one) for one in ("(a+)+", "(a|b*)+", "(a+b)+", "(a+){3}", "((a*)?)*")] == [
        True,
        True,
        False,
        False,
        True,
    ]
