"""Token buckets: how many requests a key or an address may still make, in bounded memory."""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

MAX_BUCKETS = 10_000


class TokenBuckets:
    """One bucket per caller, used by one thread. It holds up to `burst` tokens and gains `rate_per_s` a second.

    Of more callers than `max_buckets`, those that asked least recently are forgotten: theirs are full again.
    """

    def __init__(
        self,
        rate_per_s: float,
        burst: int,
        max_buckets: int = MAX_BUCKETS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate_per_s = rate_per_s
        self._burst = float(burst)
        self._max_buckets = max_buckets
        self._clock = clock
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()  # tokens, as of when

    def take(self, caller: Hashable) -> float:
        """0 when a token was there and is taken, else in how many seconds there will be one."""
        if not self._rate_per_s:
            return 0.0
        now_s = self._clock()
        tokens, then_s = self._buckets.get(caller, (self._burst, now_s))
        tokens = min(self._burst, tokens + (now_s - then_s) * self._rate_per_s)
        wait_s = 0.0 if tokens >= 1.0 else (1.0 - tokens) / self._rate_per_s
        self._buckets[caller] = (tokens if wait_s else tokens - 1.0, now_s)
        self._buckets.move_to_end(caller)
        if len(self._buckets) > self._max_buckets:
            self._buckets.popitem(last=False)
        return wait_s


def network_of(host: str) -> str:
    """What counts as one caller without a key: an IPv4 address, or the /64 that one IPv6 host may choose from."""
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(address) >> 64 << 64))
