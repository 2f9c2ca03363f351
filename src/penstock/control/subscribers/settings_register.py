"""The part `register` of the configuration: where subscribers are remembered, for how long, and how many.

`examples/inline.yaml` describes each key. It opens no file.
"""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, PlainValidator

from penstock.control.fields import Count, File, Label, Model, check_power_of_two
from penstock.control.subscribers.zones import parse_zone

STORE = Path("/var/lib/penstock/subscribers.db")
CAPACITY_LIMIT = 1 << 20  # numbers have 20 bits in the kernel's table
ADDRESSES_LIMIT = 1 << 22
OWN_NAMES_LIMIT = 1 << 24
NUMBERS_KEPT = 2  # of the capacity: 0 is nobody, the last one stands for a shared address


class RegisterSettings(Model):
    """The register of subscribers."""

    database: File = STORE
    default_profile: Label | None = None
    capacity: Annotated[Count, Field(ge=1024, le=CAPACITY_LIMIT), AfterValidator(check_power_of_two)] = 65_536
    addresses: Annotated[Count, Field(ge=1024, le=ADDRESSES_LIMIT), AfterValidator(check_power_of_two)] = 262_144
    own_names: Annotated[Count, Field(ge=1024, le=OWN_NAMES_LIMIT), AfterValidator(check_power_of_two)] = 65_536
    zone: Annotated[str, PlainValidator(parse_zone)] = "UTC"
    forget_days: Annotated[Count, Field(ge=1, le=3650)] = 90
    file: File | None = None
