"""What the environment and the flags say, as configuration trees that go on top of the file.

TAILWATCH_AGENT__CHECKPOINT_S=1 sets agent.checkpoint_s; `--set agent.checkpoint_s=1` does the same, one step stronger.
A value may be a list or a map in YAML's one-line form. A name without `__` is a setting only if it is exactly
one of the top-level ones: orchestrators put variables such as TAILWATCH_PORT beside ours, which must not stop a start.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence

from tailwatch.config_check import nearest
from tailwatch.config_tree import Branch, Leaf, Node, Place, nested, overlaid
from tailwatch.errors import ConfigError
from tailwatch.yaml_tree import parse, scalar

log = logging.getLogger(__name__)

PREFIX = "TAILWATCH_"

# Variables of ours that are no settings: name -> what they do. docs/reference/configuration.md lists them.
OTHER_VARIABLES = {
    "TAILWATCH_CONFIG": "configuration file, where no --config is given",
    "TAILWATCH_URL": "address of the API for `tailwatch query`",
    "TAILWATCH_API_KEY": "API key that `tailwatch query` shows",
    "TAILWATCH_GRAFANA_TOKEN": "token for `tailwatch grafana`, where grafana.token_path is not set",
    "TAILWATCH_KERNELS": "numba or numpy: which sketch kernels to use from the start (see the documentation)",
}


def environment_tree(environment: Mapping[str, str], top_level: Iterable[str]) -> Branch:
    """The settings that variables give; an empty variable counts as not set.

    Args:
        top_level: names of the top-level settings.
    Raises:
        ConfigError: a value is not YAML, or a name has an empty part.
    """
    known = {PREFIX + name.upper(): name for name in top_level}
    tree = Branch({}, Place("environment"))
    problems: list[str] = []
    for name in sorted(environment):
        text = environment[name]
        if not name.startswith(PREFIX) or not text:
            continue
        if name not in known and "__" not in name:
            near = nearest(name, known, cutoff=0.9)
            if near and name not in OTHER_VARIABLES:
                log.warning("variable %s is not a setting and is ignored; did you mean %s?", name, near)
            continue
        keys = tuple(name.removeprefix(PREFIX).lower().split("__"))
        place = Place(f"environment {name}")
        if not all(keys):
            problems.append(f"{place}: part of the name is empty; write TAILWATCH_SECTION__KEY")
            continue
        tree = _grown(tree, keys, text, place, problems)
    if problems:
        raise ConfigError(problems)
    return tree


def assignments_tree(assignments: Sequence[str], flag: str = "--set") -> Branch:
    """The settings that `--set key.path=value` gives, the last one winning.

    Raises:
        ConfigError: an assignment has no `=`, an empty key or a value that is not YAML.
    """
    tree = Branch({}, Place(flag))
    problems: list[str] = []
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        keys = tuple(key.strip().split("."))
        place = Place(f"flag {flag} {assignment}")
        if not equals or not all(keys):
            problems.append(f"{place}: write it as {flag} section.key=value")
            continue
        tree = _grown(tree, keys, text, place, problems)
    if problems:
        raise ConfigError(problems)
    return tree


def flag_tree(values: Mapping[str, tuple[str, str | int | None]]) -> Branch:
    """The settings that named flags give: dotted key -> (flag, value), None meaning that the flag was not used."""
    tree = Branch({}, Place("flags"))
    for key, (flag, value) in values.items():
        if value is not None:
            place = Place(f"flag {flag}")
            tree = _with(tree, tuple(key.split(".")), Leaf(value, str(value), place, untyped=True), place)
    return tree


def _value(text: str, place: Place) -> Node:
    """A list, map or quoted text as YAML, anything else as one scalar: `sqlite://:memory:` would be a map to YAML."""
    if text.lstrip()[:1] in tuple("[{\"'"):
        return parse(text, place, untyped=True)
    return Leaf(scalar(text.strip()), text, place, untyped=True)


def _grown(tree: Branch, keys: tuple[str, ...], text: str, place: Place, problems: list[str]) -> Branch:
    """The tree with one more setting; where that cannot be, the tree as it was and one more problem."""
    try:
        return _with(tree, keys, _value(text, place), place)
    except ConfigError as error:
        problems.extend(error.problems)
        return tree


def _with(tree: Branch, keys: tuple[str, ...], node: Node, place: Place) -> Branch:
    merged = overlaid(tree, nested(keys, node, place))
    assert isinstance(merged, Branch), "two branches overlay to a branch"
    return merged
