"""How heavy the regular expressions of a text are, told before anything compiles them.

Matching is linear in RE2, but compiling is not free: a class such as \\pL repeated five hundred times takes most of a
second, and a query may hold hundreds of them. The weight is about the number of states that a pattern makes.
"""

import re

MAX_WEIGHT = 70_000  # compiles in about half a second; plain text weighs one a character
_HEAVY_CLASS = 200  # Unicode classes have hundreds of ranges
_UNBOUNDED = 1 << 40

_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)
_ATOM = re.compile(
    r"(?P<escape>\\(?:[pP](?:\{[^}]{0,64}\}|.)|.|$))|(?P<set>\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]?)"
    r"|(?P<repeat>\{(?P<low>\d+)(?:,(?P<high>\d*))?\})|(?P<open>\()|(?P<close>\))|(?P<plain>.)",
    re.DOTALL,
)
_HEAVY = re.compile(r"\\[pPwWdDsS]")


def literal_weight(literal: str) -> int:
    """The weight of a string literal of PromQL, quotes included, in case it is a regular expression."""
    inside = literal[1:-1]
    return pattern_weight(inside if literal.startswith("`") else _ESCAPE.sub(_meant, inside))


def pattern_weight(pattern: str) -> int:
    """The weight of a regular expression. Cost: linear in its length."""
    totals, lasts = [0], [0]
    for atom in _ATOM.finditer(pattern):
        if atom["open"]:
            totals.append(0)
            lasts.append(0)
            continue
        if atom["close"] and len(totals) > 1:
            weight = totals.pop() + 1
            lasts.pop()
        elif atom["repeat"]:
            times = max(_count(atom["low"]), _count(atom["high"] or ""))
            weight = lasts[-1] * max(times - 1, 0)
            lasts[-1] = min(lasts[-1] * max(times, 1), _UNBOUNDED)
            totals[-1] = min(totals[-1] + weight, _UNBOUNDED)
            continue
        else:
            weight = 1 + _HEAVY_CLASS * len(_HEAVY.findall(atom[0]))
        lasts[-1] = weight
        totals[-1] = min(totals[-1] + weight, _UNBOUNDED)
    return min(sum(totals), _UNBOUNDED)


def _count(digits: str) -> int:
    return int(digits) if 0 < len(digits) < 9 else 0 if not digits else _UNBOUNDED


def _meant(escape: re.Match[str]) -> str:
    number = next((code for code in escape.groups()[:3] if code), None)
    if number is not None:
        return chr(min(int(number, 16), 0x10FFFF))
    return chr(int(escape[4], 8)) if escape[4] else escape[5]
