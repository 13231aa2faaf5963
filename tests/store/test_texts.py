"""Texts from outside: what can be stored stays, what cannot is written out, and long names stay different."""

from hypothesis import given
from hypothesis import strategies as st

from store.texts import is_storable, storable_name, storable_text

texts = st.text(st.characters(codec=None), max_size=60)


@given(text=texts, at_most=st.integers(20, 40))
def test_what_can_be_stored_stays_and_what_is_made_of_the_rest_can_be(text: str, at_most: int) -> None:
    for made in (storable_name(text, at_most), storable_text(text, at_most)):
        assert is_storable(made, at_most)
        assert "\x00" not in made
        assert len(made.encode()) >= len(made)
        assert (made == text) == is_storable(text, at_most)


def test_nul_and_surrogates_are_written_out() -> None:
    assert storable_text("a\x00b\udc80ü", 100) == "a\\0b\\udc80ü"
    assert storable_text("a\x00b", 2) == "a\\"
    assert not is_storable("\ud800", 10)
    assert is_storable("ü" * 10, 10)
    assert not is_storable("ü" * 11, 10)


def test_long_names_that_begin_alike_stay_different_and_recognisable() -> None:
    one, other = ("worker-" * 50 + end for end in ("1", "2"))
    names = [storable_name(name, 256) for name in (one, other)]
    assert names[0] != names[1]
    assert [len(name) for name in names] == [256, 256]
    assert names[0].startswith("worker-worker-")
    assert storable_name(names[0], 256) == names[0]
