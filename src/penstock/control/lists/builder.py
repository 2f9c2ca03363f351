"""Lists read in another process (`workshop`), and what comes of it: so that whoever waits for packets' events does not.

It knows the workshop's orders and answers, and that an answer is another process's word: it is checked like a feed.
"""

import json
import os
import pickle
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from penstock.control.child import SAID, Child, ChildError
from penstock.control.configuration import Configuration
from penstock.control.lists.feed_cache import Counts, FeedError, Version
from penstock.control.lists.names_file import NamesError
from penstock.control.lists.workshop import NAME

MODULE = "penstock.control.lists.workshop"
WITHIN_S = 1800.0  # formats that are read line by line take a minute for a million lines
PLACE_LIMIT = 1000


def build_apart(configuration: Configuration, database: Path, on_trial: Mapping[Path, Path]) -> dict[str, Any]:
    """Build the names database of a configuration's lists at a path. Raises NamesError, OSError; nothing is there then."""
    directory = database.with_name(f"{database.name}.building")
    database.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(directory, ignore_errors=True)  # of one that was killed
    directory.mkdir(mode=0o700)
    try:
        order = {
            "do": "build",
            "configuration": _strip(configuration),
            "directory": directory,
            "on_trial": dict(on_trial),
        }
        said = _ask(order)
        os.replace(directory / NAME, database)
        return said if isinstance(said, dict) else {}
    except ChildError as error:
        raise NamesError(str(error)) from None
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def examine_version(version: Version) -> tuple[Counts, ...]:
    """What a new version has and has not any more, for each entry of `lists`. Raises FeedError: it is not to be taken."""
    feed = version.feed
    old = feed.path if feed.path.exists() else None
    sources = [(source, old, version.place) for source in feed.sources]
    try:
        said = _ask({"do": "examine", "sources": sources, "max_bytes": feed.terms.max_bytes})
        found = tuple(Counts(**of_source) for of_source in said)
    except (ChildError, TypeError) as error:
        raise FeedError(str(error).replace(f"{version.place}: ", "")) from None
    for source, counts in zip(feed.sources, found, strict=True):
        before = counts.entries - counts.added + counts.removed
        if before and before - counts.entries > source.lost_share * before:
            share = 1 - counts.entries / before
            raise FeedError(
                f"it lost {share:.0%} of its entries ({before:,} before, {counts.entries:,} now), "
                f"and `lost_share` is {source.lost_share:g}"
            )
    return found


def find_entries(configuration: Configuration, asked: Sequence[tuple[str, str]]) -> list[tuple[str, str] | None]:
    """For each category and host the entry that decides: place, name; None for none, or where nobody can tell."""
    try:
        said = _ask({"do": "find", "configuration": _strip(configuration), "asked": list(asked)})
    except ChildError:
        return [None] * len(asked)
    return [(str(one[0])[:PLACE_LIMIT], str(one[1])[:PLACE_LIMIT]) if one else None for one in said]


def _strip(configuration: Configuration) -> Configuration:
    """What the workshop needs of it."""
    return configuration.model_copy(update={"subscribers": (), "radius": type(configuration.radius)()})


def _ask(order: dict[str, Any]) -> Any:
    with Child(MODULE, pickle.dumps(order), WITHIN_S) as child:
        said = [payload for kind, payload in child.frames() if kind == SAID]
    if len(said) != 1:
        raise ChildError("the process that reads lists did not answer")
    return json.loads(said[0])
