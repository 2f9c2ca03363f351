"""Fair comparison: the same work for each arm in interleaved rounds, and how sure the ratio is.

    one block:  A B C D D C B A      a drift of the machine weighs on all alike
    a figure:   the mean of an arm's two samples in a block
    a ratio:    block by block, figure of the arm / figure of the base; the median, with a bootstrap interval of 95 %

Knows order and statistics. Refuses to know what a sample measures.
"""

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

RESAMPLES = 2000
INTERVAL = 0.95

Arm = TypeVar("Arm")
Figures = dict[str, list[float]]  # arm → its figure in each block


@dataclass(frozen=True)
class Estimate:
    """A median over the blocks and the interval it lies in."""

    median: float
    low: float
    high: float


def interleave(
    arms: dict[str, Arm], blocks: int, measure: Callable[[Arm], dict[str, float]], on_sample: Callable[[], None]
) -> dict[str, Figures]:
    """Measure every arm twice a block, there and back; quantity → arm → figures. One sample of each before, unused."""
    for arm in arms.values():
        measure(arm)
        on_sample()
    figures: dict[str, Figures] = {}
    for _ in range(blocks):
        samples: dict[str, list[dict[str, float]]] = {name: [] for name in arms}
        for name in (*arms, *reversed(arms)):
            samples[name].append(measure(arms[name]))
            on_sample()
        for name, pair in samples.items():
            for quantity in pair[0]:
                mean = statistics.fmean(sample[quantity] for sample in pair)
                figures.setdefault(quantity, {}).setdefault(name, []).append(mean)
    return figures


def pool(births: Sequence[dict[str, dict[str, Figures]]]) -> dict[str, dict[str, Figures]]:
    """One figure an arm for each birth, the mean of its blocks. Two boxes of the same sources differ by where memory
    and interrupts happened to land, for as long as they live: more blocks of the same boxes cannot tell that apart."""
    pooled: dict[str, dict[str, Figures]] = {}
    for results in births:
        for load, quantities in results.items():
            for quantity, figures in quantities.items():
                for arm, values in figures.items():
                    known = pooled.setdefault(load, {}).setdefault(quantity, {}).setdefault(arm, [])
                    known.append(statistics.fmean(values))
    return pooled


def compare(figures: Figures, arm: str, base: str) -> Estimate:
    """The ratio arm / base."""
    return estimate([a / b for a, b in zip(figures[arm], figures[base], strict=True) if b])


def subtract(figures: Figures, arm: str, base: str) -> Estimate:
    """The difference arm - base."""
    return estimate([a - b for a, b in zip(figures[arm], figures[base], strict=True)])


def estimate(values: Sequence[float]) -> Estimate:
    """The median of `values` and its bootstrap interval; the same values give the same interval."""
    chance = random.Random(0)
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(RESAMPLES))
    cut = int(RESAMPLES * (1 - INTERVAL) / 2)
    return Estimate(statistics.median(values), medians[cut], medians[-1 - cut])
