"""`python -m tests.fuzzing PARSER [--runs N] [--seconds S]`: feed a parser what a coverage-guided fuzzer makes up.

Without PARSER, the names; `all` is each in turn, with a line at its end. Ends with 0 when the promise held; otherwise
atheris prints the bytes that broke it, which belong into the parser's seeds or a test of their own.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import atheris

# What a change of single bits and bytes hardly ever finds: digits of another script, signs of several bytes, extremes.
_WORDS = ["۱", "½", "é", "\u2028", "\ufeff", "NaN", "Infinity", "-0", "1e309", "9223372036854775808", "null", "[[[[[["]

with atheris.instrument_imports(include=["agents.sources"]):
    from tests.fuzzing.parsers import PARSERS


def main() -> None:
    """Run; atheris ends the process."""
    arguments = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    arguments.add_argument("parser", nargs="?", choices=[*sorted(PARSERS), "all"])
    arguments.add_argument("--runs", type=int, default=-1, help="how many inputs; -1, the default, sets no end")
    arguments.add_argument("--seconds", type=int, default=0, help="how long at most; 0, the default, sets no end")
    arguments.add_argument("--seed", type=int, default=0, help="0, the default, draws one and prints it")
    given = arguments.parse_args()
    if given.parser is None:
        print("\n".join(sorted(PARSERS)))
        return
    if given.parser == "all":
        sys.exit(max(_forked(name, given) for name in sorted(PARSERS)))
    _fuzz(given.parser, given)


def _forked(name: str, given: argparse.Namespace) -> int:
    """The status of a process of its own, which finds everything loaded and instrumented: that takes longest."""
    child = os.fork()
    if child == 0:
        _fuzz(name, given)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    ended = os.waitstatus_to_exitcode(status)
    print(f"{name} ended with {ended}", file=sys.stderr, flush=True)
    return abs(ended)


def _fuzz(name: str, given: argparse.Namespace) -> None:
    parser = PARSERS[name]
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for number, seed in enumerate(parser.seeds):
            parser.check(seed)
            (corpus / f"seed{number}").write_bytes(seed)
        words = Path(folder, "words")
        words.write_text("".join(_quoted(word) for word in _WORDS))
        options = [f"-runs={given.runs}", f"-max_total_time={given.seconds}", f"-seed={given.seed}", f"-dict={words}"]
        options += ["-timeout=30", "-rss_limit_mb=4096", f"-artifact_prefix={folder}/"]
        atheris.Setup([sys.argv[0], *options, str(corpus)], parser.check)
        atheris.Fuzz()


def _quoted(word: str) -> str:
    """As libFuzzer's dictionaries write it."""
    octets = "".join(f"\\x{octet:02x}" for octet in word.encode())
    return f'"{octets}"\n'


if __name__ == "__main__":
    main()
