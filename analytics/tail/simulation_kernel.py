"""The compiled event loop of simulation.py: processor sharing in virtual time.

All running requests progress at the same rate, that of the threads at work (slowdown.py). Virtual time is the integral
of it, so a request that runs undisturbed ends at a virtual time that is known when it begins, and nothing of the others
has to be touched at an event. A change of degree moves that one end.
"""

import numpy as np
from numba import njit

_NEVER = np.inf


@njit(cache=True, nogil=True)
def run(  # type: ignore[no-untyped-def]  # noqa: PLR0912, PLR0915, PLR0917 -- a call per event would cost more
    arrivals, works, predictions, classes, predicted_classes, forced, speedups, progress, own, rates,
    average, mean_ms, threads, workers, most, code, degree, number, metric, width, full, corrects, targets,
    starts, ends, effective, first_degrees, last_degrees, raised_at, queued, active, long_active,
):  # fmt: skip
    """Run all requests; fills the arrays from `starts` on, one entry per request.

    Args:
        progress: speed-ups in virtual time, by class and degree: `speedups` times `own`, which is by degree.
        rates: of virtual time, by threads at work from 0 on.
    Returns (raises of running requests, requests raised, busy milliseconds of the hardware).
    """
    n = arrivals.size
    request = np.empty(workers, np.int64)
    ends_at = np.empty(workers)  # in virtual time
    degrees = np.empty(workers, np.int64)
    timers = np.empty(workers)
    is_long = np.empty(workers, np.bool_)
    running, total, long_total = 0, 0, 0
    now, virtual, busy = 0.0, 0.0, 0.0
    arrived, begun, done = 0, 0, 0
    raises, raised = 0, 0
    while done < n:
        share = rates[total]
        next_end, which = _NEVER, -1
        next_timer, whose = _NEVER, -1
        for slot in range(running):
            if ends_at[slot] < next_end:
                next_end, which = ends_at[slot], slot
            if timers[slot] < next_timer:
                next_timer, whose = timers[slot], slot
        completes = now + (next_end - virtual) / share if which >= 0 else _NEVER
        arrives = arrivals[arrived] if arrived < n else _NEVER
        happens = min(arrives, completes, next_timer)
        passed = happens - now
        busy += passed * min(total, threads)
        now = happens
        if arrives == happens:
            virtual += passed * share
            arrived += 1
        elif completes <= next_timer:
            virtual = next_end
            j = request[which]
            ends[j] = now
            effective[j] = (virtual - effective[j]) * own[degrees[which] - 1]
            last_degrees[j] = degrees[which]
            total -= degrees[which]
            if is_long[which]:
                long_total -= degrees[which]
            done += 1
            running -= 1
            if which != running:
                request[which], ends_at[which], degrees[which] = request[running], ends_at[running], degrees[running]
                timers[which], is_long[which] = timers[running], is_long[running]
        else:
            virtual += passed * share
            j, d = request[whose], degrees[whose]
            if code == 5:
                goal, pause = d + 1, number
            else:
                if not is_long[whose]:
                    is_long[whose] = True
                    long_total += d
                goal, pause = (most if full else d + 1), number
            more = min(min(goal, most) - d, workers - total)
            if more > 0:
                row = classes[j]
                left = (ends_at[whose] - virtual) * progress[row, d - 1]
                ends_at[whose] = virtual + left / progress[row, d + more - 1]
                if own[d - 1] != own[d + more - 1]:  # from here on, all of it counts by the new degree
                    effective[j] = virtual - (virtual - effective[j]) * own[d - 1] / own[d + more - 1]
                degrees[whose] = d + more
                total += more
                if is_long[whose]:
                    long_total += more
                raises += 1
                if raised_at[j] != raised_at[j]:
                    raised_at[j] = now
                    raised += 1
            timers[whose] = now + pause if degrees[whose] < most else _NEVER
        while begun < arrived and total < workers:
            j = begun
            begun += 1
            waiting = arrived - begun
            queued[j], active[j], long_active[j] = waiting, total, long_total
            d, long, timer = 1, False, _NEVER
            if code == 1:
                d = min(degree, most)
            elif code == 2:
                long = predictions[j] >= number
                d = min(degree, most) if long else 1
            elif code == 3:
                least = _NEVER
                for c in range(1, most + 1):
                    alone = mean_ms / average[c - 1]
                    cost = alone + (waiting + running) * alone * c / threads
                    if cost < least:
                        least, d = cost, c
            elif code == 4:
                d = int(max(1.0, most - (most - 1) * (waiting + running) / number + 0.5))
                d = min(d, most)
            elif code == 5:
                timer = now + number
            elif code == 6:
                if metric == 0:
                    load = long_total
                elif metric == 1:
                    load = total + waiting
                else:
                    load = running + waiting
                target = targets[min(int(load / width), targets.size - 1)]
                row, predicted = predicted_classes[j], predictions[j]
                while d < most and predicted / speedups[row, d - 1] > target:
                    d += 1
                long = d > 1
                if corrects:
                    timer = now + max(target, 1e-3)  # a shorter pause might not move the clock
            if forced[j] > 0:
                d = min(forced[j], most)
            d = min(d, workers - total)
            request[running], degrees[running], is_long[running] = j, d, long
            ends_at[running] = virtual + works[j] / progress[classes[j], d - 1]
            timers[running] = timer if d < most else _NEVER
            running += 1
            total += d
            if long:
                long_total += d
            starts[j], effective[j], first_degrees[j], raised_at[j] = now, virtual, d, np.nan
    return raises, raised, busy
