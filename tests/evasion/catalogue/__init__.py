"""Every strategy, by families. Data: what is done with it is decided elsewhere."""

from tests.evasion.catalogue import (
    decoys,
    fragments,
    harmless,
    headers,
    http_framing,
    http_names,
    quic,
    resolving,
    segments,
    states,
    tls,
)
from tests.evasion.recipe import Strategy

MODULES = (segments, decoys, states, headers, fragments, http_names, http_framing, tls, quic, resolving, harmless)
CATALOGUE: tuple[Strategy, ...] = tuple(strategy for module in MODULES for strategy in module.STRATEGIES)
