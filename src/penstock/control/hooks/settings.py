"""The part `policy` of the configuration: the operator's project, and what its hooks may use.

`examples/inline.yaml` describes each key. It opens no file.
"""

from typing import Annotated

from pydantic import Field

from penstock.control.fields import Count, File, Model, Switch


class PolicySettings(Model):
    """Policy as Python."""

    project: File | None = None
    budget_ms: Annotated[Count, Field(ge=1, le=80)] = 50  # behind 100 ms the kernel takes a worker for dead
    workers: Annotated[Count, Field(ge=1, le=16)] = 2
    memory_mb: Annotated[Count, Field(ge=64, le=65_536)] = 256
    network: Switch = False
