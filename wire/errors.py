"""What can go wrong between an agent and a collector.

WireError
├── CorruptFrameError        bytes that are no frame, or a frame whose checksum or content does not hold
├── NewerFrameError          an intact frame of a wire version this program does not know: keep it, do not read it
├── FrameTooLargeError       the sender must split its rows
├── TransportSettingError    the transport's settings name something that cannot be used; trying again is no use
└── TransportError           the transport cannot take or give records now; try again
    ├── TransportFullError   its byte limit is reached
    ├── TransportRefusedError   the brokers answer and refuse us: who we are, what we may do
    │   └── TopicMissingError   they do not have the topic
    └── OffsetOutOfRangeError   the records asked for are no longer (or not yet) there
"""


class WireError(Exception):
    """Base of all errors of this package."""


class CorruptFrameError(WireError):
    """The bytes are not an intact frame; nothing of them may be used."""


class NewerFrameError(WireError):
    """An intact frame written by a newer release; the message names its version and ours."""

    def __init__(self, seen: int, known: int) -> None:
        super().__init__(f"frame has wire version {seen}, this program reads up to {known}; upgrade the collector")
        self.seen = seen
        self.known = known


class FrameTooLargeError(WireError):
    """A frame would exceed the limit both sides hold; split its rows."""


class TransportSettingError(WireError):
    """A file or value in the transport's settings cannot be used; the message names the setting."""


class TransportError(WireError):
    """The transport cannot serve right now; nothing was accepted and the caller may try again."""


class TransportFullError(TransportError):
    """The transport's byte limit is reached; keep the frames in the spool."""


class TransportRefusedError(TransportError):
    """The brokers answer, but refuse us until somebody changes settings or rights."""


class TopicMissingError(TransportRefusedError):
    """The brokers do not have the topic, or do not show it to this user."""


class OffsetOutOfRangeError(TransportError):
    """The position asked for lies outside the records a partition still holds."""

    def __init__(self, partition: int, wanted: int, earliest: int, end: int) -> None:
        super().__init__(f"partition {partition} holds offsets from {earliest} to before {end}, not {wanted}")
        self.partition = partition
        self.wanted = wanted
        self.earliest = earliest
        self.end = end
