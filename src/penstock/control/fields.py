"""What the parts of the configuration have in common: their base, and the types of single values.

It does not know which parts there are (`configuration`, `subscribers.settings`, `lists.settings`).
"""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainValidator, Strict, ValidationInfo

from penstock.control.values import parse_category, parse_label, parse_url


def make_absolute(value: Path, information: ValidationInfo) -> Path:
    """Relative paths start at the configuration's directory."""
    return (information.context or {}).get("directory", Path()) / value


def check_power_of_two(value: int) -> int:
    """`value`, where it is one. Raises ValueError."""
    if value & (value - 1):
        raise ValueError("expected a power of two")
    return value


Category = Annotated[str, PlainValidator(parse_category)]
Label = Annotated[str, PlainValidator(parse_label)]
Url = Annotated[str, PlainValidator(parse_url)]
File = Annotated[Path, AfterValidator(make_absolute)]
Count = Annotated[int, Strict()]
Switch = Annotated[bool, Strict()]


class Model(BaseModel):
    """A part of the configuration: immutable, and no key is ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
