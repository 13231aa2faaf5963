"""What the command line can fail with, each with the exit code that tells a script why.

TailwatchError              exit 1: the command could not do its work
├── ConfigError             exit 78: settings or queries are wrong; nothing was started
├── DataFolderError         exit 1: the data folder cannot be created, written or is in use
├── UnreachableError        exit 1: no API answers at the address
├── AnswerError             exit 1: the API answered with a problem
├── ForeignPackageError     exit 1: another project's package shadows one of ours
├── ExportError             exit 1: a table cannot be written to this file
├── LogFileError            exit 1: logs of jobs or their labels cannot be read
├── ServiceTimesError       exit 1: a file of measured service times cannot be used
├── RequestFileError        exit 1: a file of recorded requests cannot be used
├── DeclarationError        exit 1: rules or dashboards of this release cannot be rendered
└── GrafanaError            exit 1: Grafana cannot be reached, refuses, or holds something that is in our way

Exit code 2 (wrong usage) is argparse's own.
"""

from collections.abc import Mapping, Sequence


class TailwatchError(Exception):
    """Base of every error the command line shows as one message instead of a traceback."""

    exit_code = 1


class ConfigError(TailwatchError):
    """Settings or queries that cannot be used; `problems` holds one line for each fault found."""

    exit_code = 78

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class DataFolderError(TailwatchError):
    """The data folder cannot be used."""


class UnreachableError(TailwatchError):
    """Nothing that speaks our API answers at the address."""


class AnswerError(TailwatchError):
    """The API refused the question; the message is its problem text in one line, `problem` the whole document."""

    def __init__(self, message: str, problem: Mapping[str, object]) -> None:
        super().__init__(message)
        self.problem = problem


class ForeignPackageError(TailwatchError):
    """A package of another project stands where ours is expected."""


class ExportError(TailwatchError):
    """A table cannot be written to a file of this name."""


class LogFileError(TailwatchError):
    """Logs of jobs, or the table of their labels, cannot be read or do not fit together."""


class ServiceTimesError(TailwatchError):
    """A file of measured service times cannot be used."""


class RequestFileError(TailwatchError):
    """A file of recorded requests cannot be used."""


class DeclarationError(TailwatchError):
    """An alert rule or a dashboard as declared cannot be rendered; the message says which and why."""


class GrafanaError(TailwatchError):
    """Grafana cannot be reached or refuses, or something that is not ours stands in our way there."""
