"""The service that a path names."""

from typing import Annotated

from fastapi import Path

from store.tail_tables import NAME_MAX

ServiceName = Annotated[
    str, Path(description="Its name, as its requests are sent under.", max_length=NAME_MAX, examples=["search"])
]
