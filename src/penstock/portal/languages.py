"""What pages say, by language: one JSON of texts each, and which language a reader wants.

Reasons have their English text where they are numbered, in `kernel/reasons.py`. It does not know what the pages are.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from penstock.kernel.reasons import REASONS

TEXTS = Path(__file__).parent / "static" / "texts"
DEFAULT = "en"
ACCEPTED_LIMIT = 20  # languages of a header that are looked at


@dataclass(frozen=True)
class Language:
    """One language: its code, and the texts by key. A text is a string, or one string for each form of its number."""

    code: str
    texts: dict[str, Any]

    def say(self, key: str) -> str:
        """The text of a key. Raises KeyError for one that is not there: a template's mistake."""
        text = self.texts[key]
        if not isinstance(text, str):
            raise KeyError(key)
        return text


@cache
def read_languages() -> dict[str, Language]:
    """Every language that there is, by its code."""
    reasons = {f"reason.{reason.name}": reason.text for reason in REASONS}
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(TEXTS.glob("*.json"))}
    return {code: Language(code, reasons | texts) for code, texts in found.items()}


def choose_language(asked: str | None, stored: str | None, accepted: str) -> str:
    """Which language: what the address asks for, else what was chosen before, else what the browser prefers."""
    offered = read_languages()
    for one in (asked, stored, *_read_accepted(accepted)):
        if one in offered:
            return one
    return DEFAULT


def _read_accepted(header: str) -> list[str]:
    """The primary tags of an Accept-Language header, the most wanted first (RFC 9110 12.5.4)."""
    weighed = []
    for part in header.split(",")[:ACCEPTED_LIMIT]:
        tag, _, words = part.strip().partition(";")
        weight = words.strip().removeprefix("q=") if words else "1"
        try:
            weighed.append((float(weight), tag.split("-")[0].lower()))
        except ValueError:
            continue
    return [tag for weight, tag in sorted(weighed, key=lambda one: -one[0]) if weight > 0]
