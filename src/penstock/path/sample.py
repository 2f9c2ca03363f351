"""Samples: who asked for what of late, for the control side's guard (`control.guard`); and its judgement of them.

    ring of one worker: | written, seen, lost | read, mask | SAMPLE_COUNT samples |
    a sample:           | subscriber 4 | profile 4 | services 8 | size 8 | host 256 |

One writer (the worker), one reader (the control process). Of the requests that are judged, allowed or not, one in mask + 1
is written; a full ring loses it and counts it. It does not know times, protocols or what was decided.
"""

from penstock.compile.memory import acquire64, move, put32, put64, release64, shared, u32, u64
from penstock.kernel.tables import SUBSCRIBER_BYTES, SUBSCRIBER_PROFILE, SUBSCRIBER_SERVICES, UP_OWNER
from penstock.path.layout import W_SAMPLES, W_SUBSCRIBER_MASK, W_SUBSCRIBERS
from penstock.policy.actions import REPORT
from penstock.policy.judge import OUT_CATEGORY, OWN_NOTHING, judge

SAMPLE_SUBSCRIBER, SAMPLE_PROFILE, SAMPLE_SERVICES, SAMPLE_HOST_BYTES, SAMPLE_HOST = 0, 4, 8, 16, 24
SAMPLE_BYTES = 280
HOST_LIMIT = 255  # of a longer host the end, which the judge reads

SAMPLES_WRITTEN, SAMPLES_SEEN, SAMPLES_LOST = 0, 8, 16  # the worker's cache line
SAMPLES_READ, SAMPLES_MASK = 64, 72  # the reader's; the mask is a power of two less one
SAMPLES_HEAD_BYTES = 128
SAMPLE_COUNT = 512
SAMPLES_BYTES = SAMPLES_HEAD_BYTES + SAMPLE_COUNT * SAMPLE_BYTES

NOT_NEW = -2  # `find_refusals`: not refused, or refused before too


@shared
def sample_request(w, u, host, host_bytes):  # type: ignore[no-untyped-def]
    """Count a request of the packet `u`, and write it if it is its turn. A request without a host is none here.

    Returns: 1 when it was written.
    """
    if host_bytes <= 0:
        return 0
    ring = u64(w + W_SAMPLES)
    seen = u64(ring + SAMPLES_SEEN) + 1
    put64(ring + SAMPLES_SEEN, seen)
    if seen & u64(ring + SAMPLES_MASK):
        return 0
    written = u64(ring + SAMPLES_WRITTEN)
    if written - acquire64(ring + SAMPLES_READ) >= SAMPLE_COUNT:
        put64(ring + SAMPLES_LOST, u64(ring + SAMPLES_LOST) + 1)
        return 0
    sample = ring + SAMPLES_HEAD_BYTES + (written & (SAMPLE_COUNT - 1)) * SAMPLE_BYTES
    size = min(host_bytes, HOST_LIMIT)
    number = u64(u + UP_OWNER)
    line = u64(w + W_SUBSCRIBERS) + (number & u64(w + W_SUBSCRIBER_MASK)) * SUBSCRIBER_BYTES
    put32(sample + SAMPLE_SUBSCRIBER, number)
    put32(sample + SAMPLE_PROFILE, u32(line + SUBSCRIBER_PROFILE))
    put64(sample + SAMPLE_SERVICES, u64(line + SUBSCRIBER_SERVICES))
    put64(sample + SAMPLE_HOST_BYTES, size)
    move(sample + SAMPLE_HOST, host + host_bytes - size, size)
    release64(ring + SAMPLES_WRITTEN, written + 1)
    return 1


@shared
def judge_sample(snapshot, names, sample, out):  # type: ignore[no-untyped-def]
    """The action for a sample, by the judge of the path but for the subscriber's own list, which no change of lists
    changes. Writes: out[0:OUT_BYTES)."""
    services, size = u64(sample + SAMPLE_SERVICES), u64(sample + SAMPLE_HOST_BYTES)
    return judge(snapshot, names, services, OWN_NOTHING, sample + SAMPLE_HOST, size, out)


@shared
def find_refusals(old, old_names, new, new_names, samples, changed, count, out, room):  # type: ignore[no-untyped-def]
    """Find the samples that a new snapshot refuses and the old one does not.

    Reads: both snapshots and their names; `count` samples, and the same with the services of afterwards. Writes: out (one
        int64 a sample): the category by which the new one refuses it, or NOT_NEW; room[0:OUT_BYTES).
    Returns: how many there are. Bounds: `count` samples, twice the bounds of `judge`.
    """
    found = 0
    for number in range(count):
        sample, category = samples + number * SAMPLE_BYTES, NOT_NEW
        if judge_sample(new, new_names, changed + number * SAMPLE_BYTES, room) > REPORT:
            category = u64(room + OUT_CATEGORY)
            if judge_sample(old, old_names, sample, room) > REPORT:
                category = NOT_NEW
        put64(out + number * 8, category)
        found += 0 if category == NOT_NEW else 1
    return found
