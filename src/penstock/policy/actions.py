"""The actions that a policy can choose, numbered once for tables, events and metrics. Numbers are never reused.

It does not know how an action is carried out (`answer`), nor who chose it (`judge`).
"""

FORWARD = 0
REPORT = 1
BLOCK = 2
REDIRECT = 3
EMPTY = 4
REWRITE = 5
WARN = 6

ACTION_COUNT = 7

ACTION_NAMES = ("forward", "report", "block", "redirect", "empty", "rewrite", "warn")
"""By number: the word in configuration, events and metrics."""

ACTION_TEXTS = (
    "the request goes on, unchanged",
    "the request goes on and an event is written",
    "the request is refused with a page that says why",
    "the client is sent to the operator's page",
    "the client gets an empty answer",
    "the client gets another DNS answer: that of a safer service, or none",
    "the request is refused with a page by which the subscriber can go on",
)
"""By number: one sentence for people."""
