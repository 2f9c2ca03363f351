"""What holds for a subscriber beside his services: one word, two bits for each switch.

    | canaries | safe_search | youtube | ech | unresolved |        the first three are the levels of `policy.rewrites`

The first is 1 for everybody for whom anything holds, so a word of 0 says that nothing does.
"""

CANARY_SHIFT, SAFE_SEARCH_SHIFT, YOUTUBE_SHIFT, ECH_SHIFT, UNRESOLVED_SHIFT = 0, 2, 4, 6, 8
SWITCH_MASK = 3
LEVELS = ("off", "moderate", "strict")
ECH = ("keep", "remove", "refuse")
UNRESOLVED = ("ignore", "report", "block")
ECH_KEEP, ECH_REMOVE, ECH_REFUSE = 0, 1, 2
UNRESOLVED_IGNORED, UNRESOLVED_REPORTED, UNRESOLVED_BLOCKED = 0, 1, 2


def pack_switches(safe_search: str = "off", youtube: str = "off", ech: str = "keep", unresolved: str = "ignore") -> int:
    """The word of these choices. Raises ValueError for one that there is not."""
    return (
        1 << CANARY_SHIFT
        | LEVELS.index(safe_search) << SAFE_SEARCH_SHIFT
        | LEVELS.index(youtube) << YOUTUBE_SHIFT
        | ECH.index(ech) << ECH_SHIFT
        | UNRESOLVED.index(unresolved) << UNRESOLVED_SHIFT
    )
