"""Runs a test once with each kind of kernel and puts the default back afterwards."""

from collections.abc import Iterator

import pytest

from quantiles._kernels.choice import NAMES, load_kernels, use_kernels
from quantiles.errors import KernelError


@pytest.fixture(params=NAMES)
def kernel_name(request: pytest.FixtureRequest) -> Iterator[str]:
    name = str(request.param)
    try:
        load_kernels(name)
    except KernelError as error:
        pytest.skip(str(error))
    use_kernels(name)
    yield name
    use_kernels("numpy")
