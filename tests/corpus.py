"""Where the corpus of captures, lists and vectors is, if it is there."""

import os
from pathlib import Path

_named = os.environ.get("PENSTOCK_CORPUS")
_place = Path(_named) if _named else Path(__file__).parents[2] / "shared" / "corpus"
CORPUS: Path | None = _place if _place.is_dir() else None
