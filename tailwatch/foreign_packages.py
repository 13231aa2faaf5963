"""Refuses to start when another project's package stands where one of ours is expected.

Our packages have plain names (`agents`, `api`, ...) that others use too. Python takes the first match on its path, and
the failure would show up later as a baffling AttributeError.
"""

import importlib.util
from pathlib import Path

from tailwatch.errors import ForeignPackageError

OUR_PACKAGES = ("agents", "analytics", "api", "collector", "pipeline", "quantiles", "store", "tailwatch", "wire")


def refuse_foreign_packages() -> None:
    """Return when every package of ours is the one that was installed together with this module.

    Raises:
        ForeignPackageError: one is missing or belongs to somebody else; nothing of it was imported.
    """
    home = Path(__file__).resolve().parent.parent
    for name in OUR_PACKAGES:
        spec = importlib.util.find_spec(name)
        found = Path(spec.origin).resolve() if spec is not None and spec.origin is not None else None
        if found is None or found.parent.parent != home:
            where = f"comes from {found.parent}" if found else "is missing"
            raise ForeignPackageError(
                f"the package {name!r} {where}, wanted {home / name}; another project has the same package name: "
                "install tailwatch into an environment of its own and clear PYTHONPATH"
            )
