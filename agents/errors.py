"""What can go wrong in an agent.

AgentError
├── SourceError              a source cannot be opened or read; the message names the file, column or socket
├── SpoolError               the spool cannot be used
│   ├── SpoolBusyError       another agent on this machine has it open
│   ├── SpoolNewerError      a newer release wrote it; it is left untouched
│   └── SpoolWriteError      the disk is full or the folder not writable; nothing accepted is lost, try again
├── BudgetTooSmallError      an agent that does nothing takes more CPU than its budget
├── MetricsPortError         the port for the agent's own metrics is taken
├── ReloadError              a new configuration cannot be applied; the one before goes on
│   └── NeedsRestartError    it changes what a running agent cannot change
└── PlanUnavailableError     the API gave no plan or table now; the last one goes on
"""


class AgentError(Exception):
    """Base of all errors of this package."""


class SourceError(AgentError):
    """A source cannot be opened or read."""


class SpoolError(AgentError):
    """The spool cannot be used."""


class SpoolBusyError(SpoolError):
    """Another process holds the spool."""


class SpoolNewerError(SpoolError):
    """The spool has a format that this program does not know."""


class SpoolWriteError(SpoolError):
    """SQLite could not read or write the spool now; the last complete checkpoint stands."""


class BudgetTooSmallError(AgentError):
    """The budget is below what an idle agent takes."""


class MetricsPortError(AgentError):
    """The agent cannot listen on `metrics_port`."""


class ReloadError(AgentError):
    """A new configuration cannot be applied to the running agent, which goes on as it was."""


class NeedsRestartError(ReloadError):
    """It changes a setting that holds for as long as the agent runs."""


class PlanUnavailableError(AgentError):
    """What was asked of the API did not come; `reason` is a short fixed word for counting."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason
