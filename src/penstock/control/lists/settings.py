"""The keys of one entry of `lists`: where a list comes from, how it is written, and what it is for.

It does not read lists (`read`), and does not know what the formats mean (their own modules).
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainValidator, model_validator

from penstock.control.fields import Category, Model, Switch
from penstock.control.lists.feed_settings import FeedKeys

Format = Literal["auto", "domains", "hosts", "adguard", "squidguard", "rpz", "csv"]
Match = Literal["subtree", "exact"]

# Formats in which an entry says by itself whether it stands for what is below it.
SELF_MATCHING = frozenset({"adguard", "rpz"})


def parse_column(value: Any) -> int | str:
    """A column by its number from 1, or by its title."""
    if isinstance(value, bool) or not ((isinstance(value, int) and value >= 1) or (isinstance(value, str) and value)):
        raise ValueError("expected a column's number from 1, or its title")
    return value


class Columns(Model):
    """How the lines of a CSV feed are cut, and which column has the name or web address."""

    column: Annotated[int | str, PlainValidator(parse_column)] = 1  # by number, or by the title in the first line
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    header: Switch = False  # the first line that is no comment has titles
    comment: Annotated[str, Field(max_length=8)] = "#"


class ListSource(FeedKeys):
    """A list of names of one category: a file, or a feed."""

    category: Category
    format: Format = "auto"
    match: Match | None = None  # what a bare name stands for; None: itself and what is below
    allow: Switch = False  # its names are not in the category, whatever other lists say
    member: Annotated[str, Field(min_length=1, max_length=255)] | None = None  # directory of a tree or archive
    csv: Columns | None = None
    urls: Literal["path", "host"] = "path"  # a web address stands for itself, or for its whole host
    local_data: Literal["skip", "take"] = "skip"  # names that an RPZ zone answers with records of its own

    @model_validator(mode="after")
    def _check_format(self) -> Self:
        if self.csv and self.format != "csv":
            raise ValueError("expected `format: csv` beside `csv`")
        if self.match and self.format in SELF_MATCHING:
            raise ValueError(f"expected no `match` with the format `{self.format}`: its entries say it themselves")
        if self.local_data != "skip" and self.format != "rpz":
            raise ValueError("expected `format: rpz` beside `local_data`")
        return self
