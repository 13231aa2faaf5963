"""Stored speed-ups of a service as analytics has them, and what to say where there are none that can be read."""

from analytics.errors import DataError
from analytics.tail.learning import LearnedProfile
from analytics.tail.profile_documents import profile_from
from api.errors import ConflictError, UnavailableError
from store.tail_profiles import ProfileRow


def learned_of(row: ProfileRow) -> LearnedProfile:
    """The speed-ups of a row.

    Raises:
        UnavailableError: another release wrote them.
    """
    try:
        return profile_from(row.document)
    except DataError as error:
        raise UnavailableError(
            f"version {row.version} of the speed-ups of {row.service[:200]!r} cannot be read by this release: {error}; "
            f"POST /api/v1/services/{row.service[:200]}/speedup-profile/learn learns them anew",
            retry_after_s=60,
        ) from error


def no_profile(service: str) -> ConflictError:
    """Work is computed from speed-ups, and none were learned yet."""
    return ConflictError(
        f"no speed-ups of service {service[:200]!r} are learned yet, and without them nobody knows how long a request "
        f"takes on one thread; POST /api/v1/services/{service[:200]}/speedup-profile/learn, or see what "
        f"GET /api/v1/services/{service[:200]}/speedup-profile says of the last try"
    )
