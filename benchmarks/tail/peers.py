"""What the compiled simulator is compared with: the same event loop in plain Python, and simpy on a plain queue."""

import math
from collections import deque
from collections.abc import Callable, Generator
from typing import Any

from analytics.tail.policies import Server, Tpc
from analytics.tail.simulation import Requests
from analytics.tail.speedup import SpeedupProfile


def plain_python(requests: Requests, server: Server, profile: SpeedupProfile, policy: Tpc) -> list[float]:
    """Latencies under TPC by threads and queue: every running request is moved on at every event, as notes have it.

    Written from the description of the model, not from the compiled loop.
    """
    arrivals, works = requests.arrivals_ms.tolist(), requests.works_ms.tolist()
    predictions, speedups = requests.predictions_ms.tolist(), profile.table.tolist()
    rows = profile.classes(requests.works_ms).tolist()
    predicted_rows = profile.classes(requests.predictions_ms).tolist()
    table, most = policy.table, server.max_degree
    ends = [0.0] * len(arrivals)
    queue: deque[int] = deque()
    running: list[list[float]] = []  # request, work left, degree, when to look again
    now, arrived, total = 0.0, 0, 0
    while arrived < len(arrivals) or running:
        share = min(1.0, server.threads / total) if total else 1.0
        nearest, event, which = arrivals[arrived] if arrived < len(arrivals) else math.inf, "arrival", -1
        for place, (j, left, degree, _) in enumerate(running):
            at = now + left / (speedups[rows[int(j)]][int(degree) - 1] * share)
            if at < nearest:
                nearest, event, which = at, "end", place
        for place, one in enumerate(running):
            if one[3] < nearest:
                nearest, event, which = one[3], "timer", place
        for one in running:
            one[1] -= (nearest - now) * speedups[rows[int(one[0])]][int(one[2]) - 1] * share
        now = nearest
        if event == "arrival":
            queue.append(arrived)
            arrived += 1
        elif event == "end":
            done = running.pop(which)
            ends[int(done[0])] = now
            total -= int(done[2])
        else:
            one = running[which]
            goal = most if table.full else int(one[2]) + 1
            more = min(goal - int(one[2]), server.workers - total)
            one[2] += more
            total += more
            one[3] = now + policy.correct_every_ms if one[2] < most else math.inf
        while queue and total < server.workers:
            j = queue.popleft()
            load = total + len(queue)
            target = table.targets_ms[min(int(load / table.width), len(table.targets_ms) - 1)]
            degree = 1
            while degree < most and predictions[j] / speedups[predicted_rows[j]][degree - 1] > target:
                degree += 1
            degree = min(degree, server.workers - total)
            running.append([j, works[j], degree, now + max(target, 1.0) if degree < most else math.inf])
            total += degree
    return [end - arrival for end, arrival in zip(ends, arrivals, strict=True)]


def plain_queue() -> Callable[[Requests, int], list[float]]:
    """simpy's process for each request and a resource of so many workers; sequential, as it knows no sharing.

    Raises:
        ModuleNotFoundError: simpy is not installed.
    """
    import simpy

    def latencies(requests: Requests, workers: int) -> list[float]:
        world = simpy.Environment()
        pool = simpy.Resource(world, workers)
        arrivals, works = requests.arrivals_ms.tolist(), requests.works_ms.tolist()
        ends = [0.0] * len(arrivals)

        def served(j: int) -> Generator[Any, Any, None]:
            with pool.request() as turn:
                yield turn
                yield world.timeout(works[j])
            ends[j] = world.now

        def source() -> Generator[Any, Any, None]:
            for j, arrival in enumerate(arrivals):
                yield world.timeout(arrival - world.now)
                world.process(served(j))

        world.process(source())
        world.run()
        return [end - arrival for end, arrival in zip(ends, arrivals, strict=True)]

    return latencies
