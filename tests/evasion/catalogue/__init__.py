"""Every strategy, by families. Data: what is done with it is decided elsewhere."""

from tests.evasion.catalogue import (
    decoys,
    fragments,
    harmless,
    headers,
    http_framing,
    http_names,
    options,
    quic,
    resolving,
    segments,
    states,
    tls,
    tls_retry,
)
from tests.evasion.recipe import Strategy

MODULES = (
    *(segments, decoys, states, options, headers, fragments),
    *(http_names, http_framing, tls, tls_retry, quic, resolving, harmless),
)
CATALOGUE: tuple[Strategy, ...] = tuple(strategy for module in MODULES for strategy in module.STRATEGIES)
