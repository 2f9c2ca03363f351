"""Whose device a subscriber is: an id `<id>/<device>` where somebody has `<id>`. Ids alone are known here."""

DEVICE_MARK = "/"


def list_owners(name: str) -> list[str]:
    """The ids whose device a subscriber of this id is, if somebody has them: the outermost first."""
    ends = [at for at, letter in enumerate(name) if letter == DEVICE_MARK]
    return [name[:at] for at in ends if 0 < at < len(name) - 1]


def find_range(name: str) -> tuple[str, str]:
    """The ids of devices of a subscriber, if there are any, are behind the first of these and before the second."""
    return name + DEVICE_MARK, name + chr(ord(DEVICE_MARK) + 1)
