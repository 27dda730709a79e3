"""What all unit tests share."""

import pytest
from hypothesis import settings

# A shared contract's assertions explain themselves only when pytest rewrites them.
pytest.register_assert_rewrite("tests.unit.log_contract")

# A busy machine is slow; that is no failure.
settings.register_profile("unit", deadline=None)
settings.load_profile("unit")
