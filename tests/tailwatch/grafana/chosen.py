"""What Grafana puts in for variables before it asks: its own ones, and what an operator chose."""

import re

CHOICES = {
    "metric": "hiccup_us",
    "host": ".*",
    "model": ".*",
    "node": ".*",
    "category": ".*",
    "origin": ".*",
    "service": ".*",
    "instance": ".*",
    "query": ".*",
    "target": "10000",
    "__rate_interval": "40s",
    "__interval": "10s",
}


def with_choices(text: str) -> str:
    """The expression as it is asked."""
    return re.sub(r"\$(\w+)", lambda found: CHOICES[found[1]], text)
