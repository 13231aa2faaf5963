"""What the group decides while nobody is inside the library's `poll`, kept for the next one.

kafka-python joins a group in a task of its own, which goes on when `poll` has waited long enough, and forgets it in two
ways (seen in 3.0.12). An answer that comes between two polls is thrown away: the member joins once more, and all others
with it. And who joins since the topic has got more partitions, as the leader, no longer sees a reason to once it has
shared them out: it never takes what it was given, sends no heartbeats, and the others may wait for it for ever.
"""

from typing import Any

from kafka.future import Future
from kafka.structs import MemberState


def go_on_joining(consumer: Any) -> None:
    """Let the next `poll` take up a join that an earlier one has begun; for its thread alone, before each `poll`."""
    coordinator = consumer._coordinator
    joins_so = hasattr(coordinator, "_join_task")  # a later release may join in another way
    if not joins_so or consumer.group_metadata().state is not MemberState.REBALANCING:
        return
    coordinator.request_rejoin()
    task = coordinator._join_task
    if task is not None and task.succeeded():
        coordinator._join_task = _Kept(task)


class _Kept(Future):  # type: ignore[misc]  # the library has no types
    """The answer to a join, done as soon as somebody waits for it: one that is done before is thrown away."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self._answer = answer

    def add_errback(self, *what: Any, **more: Any) -> Any:
        """The second and last of what a waiter registers."""
        super().add_errback(*what, **more)
        if not self.is_done:
            self._answer.chain(self)
        return self
