"""Expressions by chance, from a seed, within the subset that docs/reference/promql.md describes.

Each is written twice where the two sides hold a metric differently (telemetry.py): `ours`, and `theirs`, which reads
the counter or the twin, and says in the words of Prometheus 2.42 what it has no function for. Half of the expressions
are asked at instants on the grid of the samples: there a closed range of a counter holds exactly the windows of our
left-open one. The other half is asked between samples, so that it does not matter which ends belong to a range.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.promql_differential.telemetry import (
    FLOAT_DELTAS,
    SKETCHES,
    SPACING_S,
    START_S,
    STEPS,
    each_by_itself,
)

DEPTH = 4
_BETWEEN_S = 3.25  # how far off the grid the other half is asked
_GAUGES = {
    "temperature": {"job": ["node"], "host": ["a", "b", "c"], "rack": ["r1", "r2"]},
    "up": {"job": ["node"], "host": ["a", "b", "c"]},
    "depth": {"job": ["broker"], "host": ["a", "b"]},
    "rare": {"job": ["web"], "host": ["a"]},
    "ceiling": {"job": ["web"]},
    "odd": {"kind": ["nan", "plus", "minus"]},
}
_COUNTERS = {
    "requests_total": {"job": ["web"], "host": ["a", "b"], "code": ["200", "500"], "instance": ["a:80", "b:80"]},
    "errors_total": {"job": ["web"], "host": ["a", "b"]},
}
_DELTAS = {"hits": {"job": ["web"], "host": ["a", "b"]}}
_SKETCHES = {
    "lat": {"job": ["web"], "host": ["a", "b", "c"], "path": ["/", "/x"]},
    "drift": {"job": ["node"], "host": ["a", "b"]},
}
_METRICS = {**_GAUGES, **_COUNTERS, **_DELTAS, **_SKETCHES}
_DISTINCT = ("temperature", "depth", "odd", "requests_total")  # no two series of one have equal values
_LABELS = ["job", "host", "rack", "code", "kind", "path"]
_SEVERAL = ["requests_.*|errors_total", "temperature|depth", "(temp|ra).+", "up|ceiling|odd"]
_GRID_OFFSETS = ["10s", "1m", "50s", "5m30s", "-20s", "-1m"]
_WINDOWS = ["30s", "1m", "1m40s", "2m", "3m30s", "5m", "10m"]
_WINDOWS_OFF_GRID = ["25s", "65s", "1m35s", "125s", "305s", "9m55s"]  # their left edges, asked from the grid
_WINDOWS_OF_DELTAS = [10, 20, 60, 90, 120, 300, 600]
_ODD_LEVELS = ["0.1013", "0.2501", "0.4987", "0.5003", "0.7501", "0.9007", "0.9503", "0.9903", "0.9991"]
_ARITHMETIC = ["+", "-", "*", "/", "%", "^"]
_COMPARISONS = ["==", "!=", ">", "<", ">=", "<="]
_NUMBERS = ["0", "1", "2", "3.5", "-4", "10", "0.125", "1e3", "0x1F", "-0.5", "+Inf", "NaN"]
_CURVES = """
    exp ln log2 log10 sqrt sgn deg rad asin acos atan sinh cosh tanh asinh acosh atanh timestamp
""".split()  # noqa: SIM905
_CALENDAR = """
    minute hour day_of_week day_of_month day_of_year days_in_month month year
""".split()  # noqa: SIM905
_PLAIN_NUMBERS = ["1", "2", "3.5", "-4", "10", "0.125", "40"]


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of an expression as both sides read it.

    Attributes:
        labels: those that its series may have.
        distinct: whether no two of its values are equal at a time, so that topk has one answer.
    """

    ours: str
    theirs: str
    labels: tuple[str, ...] = ()
    distinct: bool = False

    def put(self, template: str, **changes: object) -> "Text":
        """The template with this piece where it says {}."""
        filled = replace(self, ours=template.replace("{}", self.ours), theirs=template.replace("{}", self.theirs))
        return replace(filled, **changes) if changes else filled


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression and when it is asked about.

    Attributes:
        kind: what it was made to be: "numbers", "histograms", "quantiles", "scalar" or "mistake".
        loose: whether quantiles from inside a bucket are in it, where Prometheus 2 interpolates in another way.
        ordered: whether an instant query promises an order.
        at_s: instant of the instant query.
        start_s, end_s, step_s: of the range query.
    """

    number: int
    ours: str
    theirs: str
    kind: str
    at_s: float
    start_s: float
    end_s: float
    step_s: float
    loose: bool = False
    ordered: bool = False


def expressions(count: int, seed: int) -> list[Expression]:
    """The first `count` expressions of a seed; a larger count begins with the same ones."""
    return [_expression(number, random.Random(f"{seed} {number}")) for number in range(count)]


def _expression(number: int, rng: random.Random) -> Expression:
    grid = number % 2 == 0
    grammar = _Grammar(rng, grid)
    shares = [("numbers", 30), ("histograms", 15), ("quantiles", 20)] if grid else [("numbers", 60), ("histograms", 5)]
    kind = rng.choices(*zip(*shares, ("scalar", 4), ("mistake", 5), strict=True))[0]
    made: dict[str, Callable[[], Text]] = {
        "numbers": lambda: grammar.numbers(rng.randint(1, DEPTH)),
        "histograms": lambda: grammar.histograms(rng.randint(0, 2)),
        "quantiles": grammar.quantiles,
        "scalar": lambda: grammar.scalar(2),
        "mistake": grammar.mistake,
    }
    text, ordered = made[kind](), False
    if kind == "numbers" and rng.random() < 0.05:
        text, ordered = text.put(rng.choice(["sort({})", "sort_desc({})"])), True
    between_s = 0.0 if grid else _BETWEEN_S
    # A counter is extrapolated beyond its last sample, deltas are not: with those, only what lies inside is asked.
    last_step = STEPS - 7 if any(name in text.ours for name in (*FLOAT_DELTAS, *SKETCHES)) else STEPS + 45
    at_step, start_step = rng.randrange(120, last_step), rng.randrange(100, 200)
    step_s = rng.choice([10, 20, 30, 70, 120])
    most = (last_step - start_step) * SPACING_S // step_s
    end_s = start_step * SPACING_S + step_s * rng.randint(1, min(most, 25))
    if step_s > SPACING_S and rng.random() < 0.3:
        end_s -= SPACING_S  # not a whole number of steps
    return Expression(
        number, text.ours, text.theirs, kind,
        START_S + SPACING_S * at_step + between_s, START_S + SPACING_S * start_step + between_s,
        START_S + end_s + between_s, step_s,
        loose=kind == "quantiles", ordered=ordered,
    )  # fmt: skip


class _Grammar:
    def __init__(self, rng: random.Random, grid: bool) -> None:
        self._rng = rng
        self._grid = grid

    # What is made of numbers.

    def numbers(self, depth: int) -> Text:
        """A vector of numbers."""
        if depth <= 0:
            return self._selector()
        makers = [
            (self._of_a_range, 6), (self._of_each, 3), (self._aggregated, 6), (self._with_a_number, 4),
            (self._of_one_family, 2), (self._of_two_groups, 3), (self._of_two, 1), (self._sets, 3),
            (self._relabelled, 2), (self._of_histograms, 3), (lambda _depth: self._out_of_nothing(), 1),
        ]  # fmt: skip
        maker = self._rng.choices(*zip(*makers, strict=True))[0]
        return maker(depth)

    def scalar(self, depth: int) -> Text:
        """A scalar."""
        rng = self._rng
        choice = rng.randrange(4) if depth else rng.randrange(2)
        if choice == 0:
            number = rng.choice(_NUMBERS)
            return Text(number, number)
        if choice == 1:
            text = rng.choice(["time()", "time() % 60", "(time() - 1795320000) / 10", "pi() * 10"])
            return Text(f"({text})", f"({text})")
        if choice == 2:
            return self.numbers(1).put(rng.choice(["scalar(sum({}))", "scalar({})", "scalar(max({}))"]))
        operator = rng.choice([*_ARITHMETIC[:5], *(f"{each} bool" for each in _COMPARISONS)])
        return _joined(self.scalar(depth - 1), f" {operator} ", self.scalar(depth - 1))

    def _of_each(self, depth: int) -> Text:
        rng = self._rng
        inner = self.numbers(depth - 1)
        low, high = sorted(rng.sample([-10, 0, 2.5, 20, 45], 2))
        templates = [
            "abs({})", "ceil({})", "floor({})", "round({})", "round({}, 5)", "round({}, 0.25)", "-{}", "({})",
            f"clamp({{}}, {low}, {high})", f"clamp({{}}, {high}, {low})", f"clamp_min({{}}, {low})",
            f"clamp_max({{}}, {high})",
        ]  # fmt: skip
        if rng.random() < 0.4:
            templates = [f"{name}({{}})" for name in _CURVES]
            templates += ["minute(round({}) * 60)", "day_of_month(round({}) * 86400)"]
            templates += [f"{name}(clamp({{}}, -50, 50))" for name in ("sin", "cos", "tan")]  # else all is rounding
        return inner.put(rng.choice(templates), distinct=False)

    def _of_a_range(self, _depth: int) -> Text:
        rng = self._rng
        if rng.random() < 0.25:
            return self._of_a_range_of_deltas()
        metric = rng.choice([*_GAUGES, *_COUNTERS, *["requests_total"] * 6])
        functions = (
            ["rate", "increase", "rate", "increase", "irate"] if metric in _COUNTERS else ["delta", "deriv", "idelta"]
        )
        over_time = [
            "avg_over_time", "min_over_time", "max_over_time", "sum_over_time", "count_over_time", "last_over_time",
            "stddev_over_time", "stdvar_over_time", "present_over_time", "changes", "resets",
        ]  # fmt: skip
        function = rng.choice([*functions * 3, *over_time, "quantile_over_time", "absent_over_time"])
        window = rng.choice(_WINDOWS_OFF_GRID if self._grid else _WINDOWS)
        selected = self._selector(metric, window=window)
        if function == "quantile_over_time":
            return selected.put(f"quantile_over_time({rng.choice(['0', '0.3', '0.5', '0.95', '1', '-1', '2'])}, {{}})")
        return selected.put(f"{function}({{}})", distinct=False)

    def _of_a_range_of_deltas(self) -> Text:
        """Numbers that a counter's increase gives, and those that a twin's values give."""
        rng = self._rng
        window_s = rng.choice(_WINDOWS_OF_DELTAS)
        if self._grid and rng.random() < 0.6:
            function = rng.choice(["increase", "rate", "sum_over_time"])
            theirs = function if function == "rate" else "increase"
            selected = self._selector(rng.choice(FLOAT_DELTAS), window=f"{window_s}s", counter=True)
            return replace(selected, ours=f"{function}({selected.ours})", theirs=f"{theirs}({selected.theirs})")
        functions = ["count_over_time", "present_over_time"]
        metric = rng.choice([*FLOAT_DELTAS, *FLOAT_DELTAS, *_SKETCHES])
        if metric in FLOAT_DELTAS:
            functions += ["avg_over_time", "min_over_time", "max_over_time", "last_over_time", "stddev_over_time"]
        function = rng.choice(functions)
        # A millisecond less keeps the left edge out of their closed range.
        selected = self._selector(metric, window=f"{window_s}s", their_window=f"{window_s * 1000 - 1}ms")
        return selected.put(f"{function}({{}})")

    def _of_histograms(self, _depth: int) -> Text:
        rng = self._rng
        inner = self.histograms(rng.randint(0, 2))
        choice = rng.randrange(6)
        if choice < 2:
            return inner.put(rng.choice(["histogram_count({})", "histogram_sum({})"]))
        if choice == 2:
            average = f"(histogram_sum({inner.theirs}) / histogram_count({inner.theirs}))"
            return replace(inner, ours=f"histogram_avg({inner.ours})", theirs=average)
        if choice == 3:  # powers of two are bounds of buckets, where nothing is interpolated
            low, high = rng.choice([("-Inf", "16"), ("0", "32"), ("4", "+Inf"), ("-8", "8"), ("2", "64"), ("8", "4")])
            return inner.put(f"histogram_fraction({low}, {high}, {{}})")
        return self._grouped(rng.choice(["count", "group"]), inner)

    def _aggregated(self, depth: int) -> Text:
        rng = self._rng
        inner = self.numbers(depth - 1)
        names = ["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar", "quantile"]
        name = rng.choice([*names, "sum", "avg", "max", *(["topk", "bottomk"] * 3 if inner.distinct else [])])
        if name in ("topk", "bottomk"):
            return replace(self._grouped(name, inner, rng.choice(["1", "2", "5", "0"])), labels=inner.labels)
        if name == "quantile":
            return self._grouped(name, inner, rng.choice(["0", "0.25", "0.5", "0.9", "1", "-0.1", "1.5"]))
        return self._grouped(name, inner)

    def _with_a_number(self, depth: int) -> Text:
        rng = self._rng
        inner = self.numbers(depth - 1)
        number = self.scalar(1) if rng.random() < 0.3 else Text(*[rng.choice(_PLAIN_NUMBERS)] * 2)
        if rng.random() < 0.5:
            operator = rng.choice(_COMPARISONS) + rng.choice([" bool", ""])
        else:
            operator = rng.choice(_ARITHMETIC[:5])
            if rng.random() < 0.1:
                return inner.put(rng.choice(["({}) ^ 2", "({}) ^ 0.5", "2 ^ clamp({}, -10, 10)"]), distinct=False)
        left, right = (inner, number) if rng.random() < 0.7 else (number, inner)
        joined = _joined(left, f" {operator} ", right)
        return replace(joined, labels=inner.labels, distinct=inner.distinct and operator in ("+", "-"))

    def _of_one_family(self, _depth: int) -> Text:
        """Two things made of one metric, so that their labels fit."""
        rng = self._rng
        metric = rng.choice([*_GAUGES, *_COUNTERS])
        sides = []
        for _ in range(2):
            side = self._selector(metric, careful=True)
            sides.append(side.put(rng.choice(["{}", "{}", "abs({})", "{} * 2", "({} > 3)"])))
        matching = rng.choice(["", "", " on (job, host, rack, code, kind)", " ignoring (path)"])
        joined = _joined(sides[0], f" {self._operator()}{matching} ", sides[1])
        return replace(joined, labels=sides[0].labels)

    def _of_two_groups(self, depth: int) -> Text:
        rng = self._rng
        label = rng.choice(["host", "host", "job", ""])
        sides = [
            self.numbers(depth - 2).put(f"{rng.choice(['sum', 'max', 'avg', 'count'])} by ({label}) ({{}})")
            for _ in range(2)
        ]
        matching = rng.choice(["", f" on ({label})", " ignoring (code)"])
        return replace(_joined(sides[0], f" {self._operator()}{matching} ", sides[1]), labels=(label,) if label else ())

    def _of_two(self, depth: int) -> Text:
        """Whatever two vectors: often nothing matches, or too much does."""
        matching = self._rng.choice([" on (host)", " ignoring (job, rack, code)", " on ()", " on (job, host)"])
        sides = [self.numbers(depth - 1) for _ in range(2)]
        return replace(_joined(sides[0], f" {self._operator()}{matching} ", sides[1]), labels=("host",))

    def _sets(self, depth: int) -> Text:
        rng = self._rng
        left, right = self.numbers(depth - 1), self.numbers(depth - 1)
        matching = rng.choice(["", " on (host)", " ignoring (job, rack, code, instance)", " on (job)", " on ()"])
        joined = _joined(left, f" {rng.choice(['and', 'or', 'unless'])}{matching} ", right)
        return replace(joined, labels=tuple(dict.fromkeys([*left.labels, *right.labels])))

    def _relabelled(self, depth: int) -> Text:
        rng = self._rng
        inner = self.numbers(depth - 1)
        templates = [
            'label_replace({}, "zone", "z-$1", "host", "(.*)")',
            'label_replace({}, "host", "$1$1", "host", "([ab])")',
            'label_replace({}, "rack", "", "rack", ".*")',
            'label_replace({}, "port", "${p}", "instance", ".*:(?P<p>[0-9]+)")',
            'label_replace({}, "__name__", "renamed", "job", "w.*")',
            'label_join({}, "where", "-", "rack", "host")',
            'label_join({}, "job", "", "job", "missing", "host")',
        ]
        return inner.put(rng.choice(templates))

    def _out_of_nothing(self) -> Text:
        rng = self._rng
        choice = rng.randrange(5)
        if choice == 0:
            return self.scalar(1).put("vector({})", labels=())
        if choice == 3:
            text = f"{rng.choice(_CALENDAR)}({rng.choice(['', 'vector(time() * 7)', 'requests_total * 86400'])})"
            return Text(text, text)
        if choice == 4:
            return self._grouped("count_values", self._selector(rng.choice(["up", "ceiling", "odd"])), '"value"')
        if choice < 3 and rng.random() < 0.3:
            return self._selector().put("absent({})", labels=("job", "host"), distinct=False)
        text = 'absent(up{host="zz", job=~"n.*"})'
        return Text(text, text, ("host",))

    # What is made of histograms.

    def histograms(self, depth: int, metric: str = "") -> Text:
        """A vector of histograms, nearly always of one resolution."""
        rng = self._rng
        metric = metric if metric and rng.random() < 0.95 else rng.choice(list(_SKETCHES))
        if depth > 0:
            choice = rng.randrange(5)
            if choice < 3:
                return self._grouped("sum", self.histograms(depth - 1, metric))
            if choice == 3:
                label = rng.choice(["host", "job"])
                sides = [self._sketches(metric).put(f"sum by ({label}) ({{}})", labels=(label,)) for _ in range(2)]
                return _joined(sides[0], " + ", sides[1])
            operator = rng.choice(["and", "unless", "or"])
            matching = rng.choice([" on (host)", " on (job)", " on (path)"])
            left = self.histograms(depth - 1, metric)
            right = self.histograms(0, metric if operator == "or" else "")
            return replace(_joined(left, f" {operator}{matching} ", right), labels=left.labels)
        return self._sketches(metric)

    def quantiles(self) -> Text:
        """Quantiles of histograms, with nothing around them that would blow up a bucket's width."""
        rng = self._rng
        level = rng.choice(_ODD_LEVELS) if rng.random() < 0.9 else rng.choice(["-0.5", "1.5", "0", "1"])
        if rng.random() < 0.15:
            window = f"{rng.choice(_WINDOWS_OF_DELTAS)}s"
            selected = self._selector(rng.choice(list(_SKETCHES)), window=window, counter=True)
            theirs = f"histogram_quantile({level}, increase({selected.theirs}))"
            text = replace(selected, ours=f"quantile_over_time({level}, {selected.ours})", theirs=theirs)
        else:
            text = self.histograms(rng.randint(0, 2)).put(f"histogram_quantile({level}, {{}})")
        around = ["{}", "{}", "{}", "1000 * {}", "{} / 8", "-{}", "max({})", "min by (host) ({})", "abs({})"]
        around += ['label_replace({}, "zone", "z-$1", "host", "(.*)")', "clamp_max({}, 30)", "{} or up", "({})"]
        return text.put(rng.choice(around))

    def _sketches(self, metric: str) -> Text:
        rng = self._rng
        if not self._grid or rng.random() < 0.25:
            return self._selector(metric)
        function = rng.choice(["increase", "increase", "rate", "sum_over_time"])
        theirs = function if function == "rate" else "increase"
        selected = self._selector(metric, window=f"{rng.choice(_WINDOWS_OF_DELTAS)}s", counter=True)
        return replace(selected, ours=f"{function}({selected.ours})", theirs=f"{theirs}({selected.theirs})")

    # What both are made of.

    def _selector(
        self, metric: str = "", window: str = "", their_window: str = "", counter: bool = False, careful: bool = False
    ) -> Text:
        """A selector of one metric, now and then of several; with a window, of a range.

        Args:
            counter: Prometheus is to read the counter of a metric of deltas.
            careful: matchers leave something, and time is not moved.
        """
        rng = self._rng
        if not metric and rng.random() < 0.1:
            ours = theirs = f'{{__name__=~"{rng.choice(_SEVERAL)}"{self._matchers({"host": ["a"]}, ", ")}}}'
            known: dict[str, list[str]] = {label: [] for label in _LABELS}
            distinct = False
        else:
            metric = metric or rng.choice([*_GAUGES, *_COUNTERS, *_DELTAS])
            known, distinct = _METRICS[metric], metric in _DISTINCT
            name = each_by_itself(metric) if metric in {**_DELTAS, **_SKETCHES} and not counter else metric
            matchers = "" if careful and rng.random() < 0.6 else self._matchers(known, "")
            template = f"%s{{{matchers}}}" if matchers else "%s"
            if rng.random() < 0.12:
                template = f'{{__name__="%s"{", " if matchers else ""}{matchers}}}'
            ours, theirs = template % metric, template % name
        moved = "" if careful else self._moved()
        return Text(
            ours + (f"[{window}]" if window else "") + moved,
            theirs + (f"[{their_window or window}]" if window else "") + moved,
            tuple(label for label in known if label != "instance"),
            distinct,
        )

    def _matchers(self, known: dict[str, list[str]], before: str) -> str:
        rng = self._rng
        found = []
        for _ in range(rng.choices([0, 1, 2], [14, 5, 1])[0]):
            label = rng.choice([*known, "missing"] if rng.random() < 0.3 else [*known])
            values = known.get(label) or ["a"]
            value = rng.choice([*values, *values, *values, "", "zz"])
            patterns = [f"{value}|zz", f"{value[:1]}.*", ".+", ".*", "[abnw].*", "(?i:A|B|WEB|NODE)", f"a|c|{value}"]
            if len(values) > 1 or rng.random() < 0.3:  # else it leaves nothing, or is the value's
                found.append(rng.choice([f'{label}="{value}"', f'{label}!="{value}"', f'{label}!~"{value}|c"']))
            else:
                found.append(f'{label}=~"{rng.choice(patterns)}"')
        return before + ", ".join(found) if found else ""

    def _moved(self) -> str:
        """Offset and @, rarely."""
        rng = self._rng
        offset = f" offset {rng.choice(_GRID_OFFSETS)}" if rng.random() < 0.12 else ""
        if rng.random() > 0.08:
            return offset
        instant = START_S + SPACING_S * rng.randrange(100, STEPS - 6)
        when = rng.choice(["start()", "end()", str(instant if self._grid else instant + _BETWEEN_S)])
        return rng.choice([f"{offset} @ {when}", f" @ {when}{offset}"])

    def _grouped(self, name: str, inner: Text, parameter: str = "") -> Text:
        rng = self._rng
        before = f"{parameter}, " if parameter else ""
        style = rng.randrange(5)
        if style == 0:
            return inner.put(f"{name}({before}{{}})", labels=(), distinct=False)
        labels = tuple(rng.choices([*inner.labels, *inner.labels, "missing"], k=rng.randint(0, 2)))
        word = "by" if style < 4 else "without"
        left = tuple(dict.fromkeys(label for label in inner.labels if (label in labels) == (word == "by")))
        clause = f"{word} ({', '.join(labels)})"
        text = f"{name} {clause} ({before}{{}})" if rng.random() < 0.7 else f"{name}({before}{{}}) {clause}"
        return inner.put(text, labels=left, distinct=False)

    def _operator(self) -> str:
        rng = self._rng
        if rng.random() < 0.6:
            return rng.choice(_ARITHMETIC[:5])
        return rng.choice(_COMPARISONS) + rng.choice([" bool", ""])

    def mistake(self) -> Text:
        """What no server can answer."""
        rng = self._rng
        vector = self.numbers(1)
        templates = [
            "sum(3)", "rate({})", "abs(up[1m])", '{} + "a"', "{} and 1", "1 or {}", '{host=~".*"}', "{host=~'('}",
            'up{host=~"*"}', "up{", "({}", "{})", "sum({}", "1 > 2", "{} > > 2", "up[5m", "up offset 5", "nothing({})",
            'topk("a", {})', "quantile({}, {})", "vector({})", "scalar(3)", "time({})", "abs()", "round({}, 1, 2)",
            "up + on (job) up", "temperature * ignoring (host, rack) temperature", "temperature == on () temperature",
            'label_replace(temperature, "host", "same", "host", ".*")', 'label_replace({}, "0-", "x", "host", ".*")',
            'label_join(temperature, "host", "", "job")', 'label_replace({}, "x", "x", "host", "(")', "up @ up", "",
            "sum by (host, ) ({}) by (job)", "avg_over_time({})", "up[1m]", "up[55s] offset 1m", "-up[1m]", "up[0s]",
            'label_replace({}, "x", "x", "host", 3)', "up{host='a' job='b'}", "up or on (host) group_left () up",
        ]  # fmt: skip
        template = rng.choice(templates)
        return vector.put(template) if template else Text(" ", " ")


def _joined(left: Text, operator: str, right: Text) -> Text:
    return Text(f"({left.ours}){operator}({right.ours})", f"({left.theirs}){operator}({right.theirs})", left.labels)
