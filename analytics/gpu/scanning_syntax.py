"""RE2 patterns as trees: just enough to tell which fixed texts a pattern demands and how its repeats nest.

RE2 itself decides what is a pattern and what it matches; what this reader does not know it takes for "any text", which
makes scanning slower, never wrong. It is only asked about patterns that RE2 has compiled.
"""

from dataclasses import dataclass
from typing import Final

#: Escapes that stand for one certain character.
_CONTROLS: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_FEW: Final = 4  # characters of a class that are told apart
_NOTHING_WIDE: Final = "bBAz"


@dataclass(frozen=True, slots=True)
class Literal:
    """One character that must stand there, large or small where `any_case`."""

    character: str
    any_case: bool = False


@dataclass(frozen=True, slots=True)
class Anything:
    """A class, a dot, or what this reader does not know: text of at least `least` characters."""

    least: int = 1


@dataclass(frozen=True, slots=True)
class Sequence:
    """One after the other; without parts it is the empty text."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of them."""

    branches: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`least` times and more; `most` is None where there is no bound."""

    body: "Node"
    least: int
    most: int | None


Node = Literal | Anything | Sequence | Choice | Repeat
EMPTY: Final = Sequence(())


def parsed(pattern: str) -> Node:
    """The tree of a pattern that RE2 accepts."""
    return _Reader(pattern).choice()


class _Reader:
    """Walks along the pattern once."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._any_case = False

    def choice(self) -> Node:
        """Branches up to the end or the closing bracket, which is left to the caller."""
        branches = [self._sequence()]
        while self._next_is("|"):
            branches.append(self._sequence())
        return branches[0] if len(branches) == 1 else Choice(tuple(branches))

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self._at < len(self._pattern) and self._pattern[self._at] not in "|)":
            found = self._atom()
            bounds = self._bounds()
            while bounds is not None:
                found = Repeat(found, *bounds)
                bounds = self._bounds()
            if found != EMPTY:
                parts.append(found)
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _atom(self) -> Node:
        character = self._taken()
        match character:
            case "(":
                return self._group()
            case "[":
                return self._class()
            case ".":
                return Anything()
            case "^" | "$":
                return EMPTY
            case "\\":
                return self._escape()
            case _:
                return self._literal(character)

    def _literal(self, character: str) -> Literal:
        return Literal(character, self._any_case and character.isalpha())

    def _group(self) -> Node:
        outside = self._any_case
        if self._next_is("?"):
            if self._next_is("P") or self._next_is("<"):
                self._past(">")
            elif self._flags() == ")":  # for what follows, up to the end of the group around: (?i)
                return EMPTY
        inside = self.choice()
        self._taken()
        self._any_case = outside
        return inside

    def _flags(self) -> str:
        """What stands behind flags: a colon, or the closing bracket."""
        wanted = True
        while (flag := self._taken()) not in ":)":
            wanted = wanted and flag != "-"
            if flag == "i":
                self._any_case = wanted
        return flag

    def _class(self) -> Node:
        start = self._at
        self._next_is("^")
        self._next_is("]")
        while self._at < len(self._pattern):
            if self._pattern.startswith("[:", self._at):
                self._at = self._pattern.index(":]", self._at) + 2
                continue
            character = self._taken()
            if character == "]":
                break
            if character == "\\":
                self._taken()
        inside = self._pattern[start : self._at - 1]
        # [.] and [*] are how some write a dot and a star; [_ ] and [-_] stand between words.
        plain = inside and not inside.startswith("^") and not set(inside) & set("\\[") and "-" not in inside[1:-1]
        if plain and len(inside) <= _FEW:
            return Choice(tuple(map(self._literal, inside))) if len(inside) > 1 else self._literal(inside)
        return Anything()

    def _escape(self) -> Node:
        character = self._taken()
        if character in _NOTHING_WIDE:
            return EMPTY
        if character in _CONTROLS:
            return self._literal(_CONTROLS[character])
        if character == "Q":
            end = self._pattern.find("\\E", self._at)
            text = self._pattern[self._at : end if end >= 0 else len(self._pattern)]
            self._at = end + 2 if end >= 0 else len(self._pattern)
            return Sequence(tuple(map(self._literal, text)))
        if character in "pPx" and self._at < len(self._pattern):
            if self._pattern[self._at] == "{":
                self._past("}")
            else:
                self._at += 2 if character == "x" else 1
            return Anything()
        if character.isdigit():  # an octal number
            while self._at < len(self._pattern) and self._pattern[self._at].isdigit():
                self._at += 1
            return Anything()
        return Anything() if character.isalpha() else self._literal(character)

    def _bounds(self) -> tuple[int, int | None] | None:
        """How often what stands before is repeated; None where no sign says so."""
        bounds: tuple[int, int | None]
        if self._next_is("*"):
            bounds = 0, None
        elif self._next_is("+"):
            bounds = 1, None
        elif self._next_is("?"):
            bounds = 0, 1
        else:
            end = self._pattern.find("}", self._at)
            least, comma, most = self._pattern[self._at + 1 : end].partition(",")
            if not self._pattern.startswith("{", self._at) or end < 0 or not least.isdigit():
                return None  # RE2 takes such a bracket for itself
            if most and not most.isdigit():
                return None
            self._at = end + 1
            bounds = int(least), int(most) if most else None if comma else int(least)
        self._next_is("?")  # as short as may be
        return bounds

    def _taken(self) -> str:
        self._at += 1
        return self._pattern[self._at - 1]

    def _next_is(self, character: str) -> bool:
        if not self._pattern.startswith(character, self._at):
            return False
        self._at += 1
        return True

    def _past(self, character: str) -> None:
        self._at = self._pattern.index(character, self._at) + 1
