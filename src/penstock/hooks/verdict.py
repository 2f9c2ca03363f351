"""What a hook answers. It knows which answers there are, and refuses to know how one is carried out."""

import re
from dataclasses import dataclass
from typing import Self

ACTIONS = ("allow", "block", "redirect", "report")
TEXT_LIMIT, URL_LIMIT = 500, 1024


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer; made by `allow`, `block`, `redirect` and `report`. Raises ValueError for what no packet could carry.

    A hook without an opinion returns None: then the next hook is asked, and at last lists and profiles decide.
    """

    action: str
    category: str | None = None
    text: str | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(f"expected one of {', '.join(ACTIONS)}, not {self.action!r}")
        if self.category is not None and not (
            isinstance(self.category, str) and re.fullmatch(r"[a-z0-9_-]{1,63}", self.category)
        ):
            raise ValueError(f"category: expected 1 to 63 of a-z, 0-9, _ and -, not {self.category!r}")
        if self.text is not None and not (
            isinstance(self.text, str) and len(self.text) <= TEXT_LIMIT and self.text.isprintable()
        ):
            raise ValueError(f"text: expected at most {TEXT_LIMIT} printable characters")
        if (self.url is not None) != (self.action == "redirect"):
            raise ValueError("expected a web address with `redirect`, and with nothing else")
        if self.url is not None and not (
            isinstance(self.url, str) and re.fullmatch(rf"https?://[!-~]{{1,{URL_LIMIT}}}", self.url)
        ):
            raise ValueError(f"url: expected a web address in ASCII, not {self.url!r}")

    @classmethod
    def allow(cls) -> Self:
        """The request goes on, whatever lists and profiles say."""
        return cls("allow")

    @classmethod
    def block(cls, category: str | None = None, text: str | None = None) -> Self:
        """The request is refused. The page names the category and shows the text, where the protocol has a page."""
        return cls("block", category, text)

    @classmethod
    def redirect(cls, url: str) -> Self:
        """The client is sent to `url` over HTTP; over other protocols the request is refused."""
        return cls("redirect", url=url)

    @classmethod
    def report(cls, category: str | None = None) -> Self:
        """The request goes on, and an event is written."""
        return cls("report", category)
