"""A score for names that no person chose: what malware makes up to find its master looks like noise.

    bits per character of the label, its digits, its length ─► a score from 0 to 1 ─► reported from REPORTED on

Nothing is refused for its looks. The events tell a person where to look, and `on_verdict` says once per subscriber when he
asks for many such names. A process remembers only what it saw itself since it was started: that is enough for a hint.
"""

import math
from collections import Counter

from penstock.hooks import Outcome, Request, Verdict, on_request, on_verdict

REPORTED = 0.75
MANY = 5  # such names of one subscriber
SHORT = 8  # a shorter label says nothing
SHARED = {"amazonaws.com", "cloudfront.net", "akamaihd.net"}  # where names like noise are usual
SUFFIXES = {"co", "com", "org", "net", "ac", "gov", "edu"}  # such as .co.uk

noisy: Counter[str] = Counter()


def find_label(host: str) -> str:
    """The label that somebody registered: the one before the public suffix."""
    labels = host.split(".")
    at = -3 if len(labels) > 2 and labels[-2] in SUFFIXES and len(labels[-1]) == 2 else -2
    return labels[at] if len(labels) >= -at else ""


def score_label(label: str) -> float:
    """0: a word; 1: noise."""
    if len(label) < SHORT or label.startswith("xn--"):
        return 0.0
    counts = Counter(label)
    bits = -sum(count / len(label) * math.log2(count / len(label)) for count in counts.values())
    vowels = sum(label.count(letter) for letter in "aeiouy") / len(label)
    digits = sum(letter.isdigit() for letter in label) / len(label)
    return min(1.0, max(0.0, (bits - 2.5) / 2) + max(0.0, 0.25 - vowels) * 2 + min(digits, 0.5) * 0.6)


@on_request(protocols=["dns", "tls", "quic", "http"])
def score_name(request: Request) -> Verdict | None:
    if request.categories or any(request.host.endswith(f".{name}") for name in SHARED):
        return None
    return Verdict.report("noise") if score_label(find_label(request.host)) >= REPORTED else None


@on_verdict(protocols=["dns", "tls", "quic", "http"])
def count_noise(outcome: Outcome) -> None:
    if outcome.category != "noise" or not outcome.request.subscriber:
        return
    noisy[outcome.request.subscriber] += 1
    if noisy[outcome.request.subscriber] == MANY:
        print(f"{outcome.request.subscriber} asks for many names that nobody chose, last {outcome.request.host}")
