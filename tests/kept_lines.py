"""Which lines first_lines and last_lines keep, by the words of the rule: slow, and plainly right."""

from pipeline.line_rule import LINE_COST, Rule

Line = tuple[int, int, str]  # time, place, text


def exactly(lines: list[Line], rule: Rule) -> list[Line]:
    """The lines that the rule keeps; none of them is so long that it is cut."""
    ordered = sorted(((time, place, text.encode()) for time, place, text in lines), reverse=rule.newest)
    found, cost = [], 0
    for time, place, text in ordered:
        if cost >= rule.enough_bytes:
            break
        found.append((time, place, text.decode()))
        cost += LINE_COST + len(text)
    return found[::-1] if rule.newest else found
