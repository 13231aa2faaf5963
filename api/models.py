"""What the shapes of all answers share, as pydantic models, and those of health and of problems.

Models are what OpenAPI shows and what the tests hold every answer against. They describe; they do not run. Answers are
built as plain dicts and written by orjson, because validating and re-encoding 20,000 groups costs more than merging
them. Numbers may be null (no value, NaN) or, where the data holds infinities, the strings "Infinity" and "-Infinity":
JSON has no word for either. Elsewhere: answer_models.py, fleet_models.py, list_models.py, query_models.py.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[
    int | float | Literal["Infinity", "-Infinity"] | None,
    Field(description='A number; null when there is none (or NaN), "Infinity" or "-Infinity" when it is not finite.'),
]
Time = Annotated[str, Field(description="RFC 3339, UTC.", examples=["2026-11-22T07:00:10Z"])]
TimeNs = Annotated[int, Field(description="Nanoseconds since 1970, UTC.", examples=[1795330810000000000])]


class Model(BaseModel):
    """Nothing but what is described may stand in an answer."""

    model_config = ConfigDict(extra="forbid")


class Health(Model):
    """The process answers."""

    status: Literal["ok"]


class Check(Model):
    """One readiness check."""

    ok: bool
    detail: str
    ms: float = Field(description="How long the check took.")


class Readiness(Model):
    """The process can answer questions."""

    status: Literal["ready"]
    checks: dict[str, Check]


class Problem(BaseModel):
    """An RFC 9457 problem document; the last members appear only where they help."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(examples=["urn:tailwatch:problem:unknown-name"])
    title: str = Field(examples=["No such name"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["unknown metric 'hicup_us'; did you mean 'hiccup_us'?"])
    parameter: str | None = Field(default=None, description="The query parameter at fault.")
    nearest: str | None = Field(default=None, description="The known name closest to an unknown one.")
    limit: float | None = Field(default=None, description="The largest number that would have been taken.")
    instead: str | None = Field(default=None, description="A request that would answer.")
    estimate: dict[str, int] | None = Field(
        default=None, description="What answering would have to read: pages, summaries, bytes."
    )
    scope: str | None = Field(default=None, description="The scope that the API key would need.")
    line: int | None = Field(default=None, description="Where in a posted query's SQL, from 1.")
    column: int | None = Field(default=None, description="Where in the line, from 1.")
    caret: str | None = Field(default=None, description="The line and, below it, a sign at the place.")
    allowed: str | None = Field(default=None, description="What would be right there.")
    owners: dict[str, str] | None = Field(default=None, description="Whose the metrics are that were asked for.")
    checks: dict[str, Check] | None = Field(default=None, description="On /readyz: every check and its result.")
