"""Which hooks are left out for a while, because they cost worker processes: for one subscriber, or for all.

    a worker lost under a hook ─► a strike ─► 2 of one subscriber in 30 s: the hook is not asked about him for 30 s
                                           └► 6 in 30 s: it is not asked about anybody

So who knows how to make a hook slow does not take it from the others alone: he is left out before it is. Knows names of
hooks and subscribers. Refuses to know what happens without the hook: lists and profiles decide.
"""

from collections import deque
from dataclasses import dataclass, field

WINDOW_S = PAUSE_S = 30.0
OF_ONE, OF_ALL = 2, 6
STRIKE_LIMIT = 10_000


@dataclass
class Conduct:
    """What is held against hooks. `None` as subscriber is somebody, too."""

    _strikes: deque[tuple[float, str, str | None]] = field(default_factory=lambda: deque(maxlen=STRIKE_LIMIT))
    _paused: dict[tuple[str, str | None, bool], float] = field(default_factory=dict)

    def strike(self, hook: str, subscriber: str | None, now_s: float) -> str | None:
        """Hold the loss of a worker against a hook. Returns whom it is paused for from now on, in words; None: nobody."""
        self._forget(now_s)
        self._strikes.append((now_s, hook, subscriber))
        of_hook = [whose for _, name, whose in self._strikes if name == hook]
        if len(of_hook) >= OF_ALL:
            self._paused[hook, None, True] = now_s + PAUSE_S
            return "everybody"
        if of_hook.count(subscriber) >= OF_ONE:
            self._paused[hook, subscriber, False] = now_s + PAUSE_S
            return subscriber or "those without a subscriber"
        return None

    def is_paused(self, hook: str, subscriber: str | None, now_s: float) -> bool:
        """Is the hook left out for this subscriber?"""
        if not self._paused:
            return False
        ends = (self._paused.get((hook, None, True), 0.0), self._paused.get((hook, subscriber, False), 0.0))
        return now_s < max(ends)

    def count_paused(self, now_s: float) -> int:
        """Pauses that last."""
        return sum(now_s < end for end in self._paused.values())

    def clear(self) -> None:
        """Another version of the project begins without a past."""
        self._strikes.clear()
        self._paused.clear()

    def _forget(self, now_s: float) -> None:
        while self._strikes and now_s - self._strikes[0][0] > WINDOW_S:
            self._strikes.popleft()
        self._paused = {key: end for key, end in self._paused.items() if now_s < end}
