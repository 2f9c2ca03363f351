"""Write docs/reasons.md from the numbered list in penstock.kernel.reasons; `--check` only says whether it is up to date."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from penstock.kernel.reasons import DROP_FIRST, PATH_FIRST, REASON_COUNT, REASONS, UP_FIRST, Reason, Verdict

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reasons.md"

HEAD = f"""# Reasons

Written by `python scripts/reasons.py` from `src/penstock/kernel/reasons.py`: change the list there, then write the page
again.

Each packet ends with exactly one *verdict* and one *reason*. The number of a reason is never given to another one. The name
is the word in `penstock status`, in the `reason` field of events and in the label of
`penstock_packets_total{{verdict="...",reason="..."}}`.

- 0 to {PATH_FIRST - 1} are given by `steer`, in the kernel. The range is the verdict: below {DROP_FIRST} forwarded,
  below {UP_FIRST} dropped, below {PATH_FIRST} up.
- {PATH_FIRST} to {REASON_COUNT - 2} are given by the packet process, to a packet that went up.

```
seen = forwarded + dropped + up
up   = released + answered + refused + expired + waiting
```

`peeked` stands outside of the second sum: it counts copies of packets that were forwarded, and counted, in the kernel.
"""

MEANING = {
    Verdict.FORWARDED: "The kernel sent it to the other interface. Nothing was copied.",
    Verdict.DROPPED: "The kernel threw it away; nobody is told.",
    Verdict.UP: "The kernel copied it into a ring and withheld it; the packet process says what becomes of it.",
    Verdict.RELEASED: "The packet process sent the packet on as it came.",
    Verdict.ANSWERED: "The packet is withheld for good, and Penstock spoke in the other side's place.",
    Verdict.REFUSED: "Withheld for good without a word: a server would discard it, it contradicts bytes that were released "
    "before, there is no room for it, or the wire did not take it.",
    Verdict.EXPIRED: "The packet process read it too late to act on it.",
}


def build_page(reasons: list[Reason]) -> str:
    """The whole page."""
    return "\n".join([HEAD, *_build_sections(reasons)])


def _build_sections(reasons: list[Reason]) -> Iterator[str]:
    for verdict in Verdict:
        yield f"## {verdict.name.capitalize()}\n\n{MEANING[verdict]}\n\n| number | name | why |\n|---:|---|---|"
        for reason in reasons:
            if reason.verdict == verdict:
                yield f"| {reason.number} | `{reason.name}` | {reason.text} |"
        yield ""


def main() -> int:
    """Write or check the page; the exit status."""
    words = argparse.ArgumentParser(description="Write docs/reasons.md from the list of reasons.")
    words.add_argument("--check", action="store_true", help="only say whether the page is up to date")
    page = build_page(REASONS)
    if words.parse_args().check:
        if PAGE.read_text("utf-8") != page:
            print("docs/reasons.md is stale: run `python scripts/reasons.py`", file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(page, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
