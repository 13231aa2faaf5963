"""Plots as bytes of PNG or SVG: equal figures give equal bytes."""

import io
from typing import TYPE_CHECKING

from analytics.errors import MissingLibraryError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def needs_library() -> None:
    """Raise unless plots can be drawn here.

    Raises:
        MissingLibraryError: matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401, PLC0415
    except ImportError as error:
        raise MissingLibraryError(f"plots need matplotlib ({error}); pip install 'tailwatch[plots]'") from error


def image_of(figure: "Figure", kind: str) -> bytes:
    """The figure as "png" or "svg", without the time and the program that drew it."""
    from matplotlib import rc_context  # noqa: PLC0415

    image = io.BytesIO()
    metadata: dict[str, str | None] = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    with rc_context({"svg.hashsalt": "tailwatch", "svg.fonttype": "none"}):
        figure.savefig(image, format=kind, dpi=100, metadata=metadata)
    return image.getvalue()
