"""What the DNS tests have in common: who asks, over which family, and how long an answer may take."""

import pytest

AT_ONCE_MS = 50.0
TRIES = 3  # of which the quickest counts: two cores carry all of this
RETRY_S = 1.0  # stubs ask again after 1 s at least

FAMILIES = pytest.mark.parametrize("family", [4, 6])
CLIENTS = pytest.mark.parametrize("program", ["dig", "kdig"])
