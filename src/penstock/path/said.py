"""What hooks said of refusals, kept for a while: a refused request that is repeated gets the same answer again.

    | flow | birth | born | category | the answer's record |     SAID_COUNT of them, each for SAID_NS at most

Of a refusal whose answer is forgotten the client is reset. It fills what a hook said into the places of pages, too.
"""

from penstock.answer.http import FILL_BYTES, write_text, write_url
from penstock.compile.memory import move, put64, shared, u32, u64
from penstock.kernel.tables import FLOW_BIRTH, UP_FLOW
from penstock.path.ask_rings import ANSWER_BYTES, ANSWER_TEXT, ANSWER_TEXT_BYTES, ANSWER_URL, ANSWER_URL_BYTES
from penstock.path.asks import A_REPLY, A_SAID, A_SAID_NEXT, A_TEXT, A_URL, SAID_BYTES, SAID_COUNT
from penstock.path.layout import W_ASKS, W_JUDGED, W_NOW_NS, W_SNAPSHOT
from penstock.policy.judge import OUT_CATEGORY
from penstock.policy.snapshot import PLACE_TEXT, PLACE_URL, TEXT_ROOM, URL_ROOM, find_hook_page

SAID_FLOW, SAID_BIRTH, SAID_BORN_NS, SAID_CATEGORY, SAID_ANSWER = 0, 8, 16, 24, 64
SAID_NS = 30_000_000_000


@shared
def keep_said(w, u, record):  # type: ignore[no-untyped-def]
    """Keep the answer at hand, for the refusal of this flow. Returns: its number."""
    asks = u64(w + W_ASKS)
    number = u64(asks + A_SAID_NEXT) & (SAID_COUNT - 1)
    put64(asks + A_SAID_NEXT, number + 1)
    said = asks + A_SAID + number * SAID_BYTES
    put64(said + SAID_FLOW, u32(u + UP_FLOW) + 1)
    put64(said + SAID_BIRTH, u32(record + FLOW_BIRTH))
    put64(said + SAID_BORN_NS, u64(w + W_NOW_NS))
    put64(said + SAID_CATEGORY, u64(w + W_JUDGED + OUT_CATEGORY))
    move(said + SAID_ANSWER, asks + A_REPLY, ANSWER_BYTES)
    return number


@shared
def find_said(w, u, record, number, is_redirect, fills):  # type: ignore[no-untyped-def]
    """Find the template for what was said as this number of this flow.

    Writes: into `fills` what goes into its places. Returns: its offset from the start of the snapshot; 0 when what was said
        is forgotten, when it leads nowhere, or when there is no such page.
    """
    asks = u64(w + W_ASKS)
    said, snapshot = asks + A_SAID + (number & (SAID_COUNT - 1)) * SAID_BYTES, u64(w + W_SNAPSHOT)
    answer = said + SAID_ANSWER
    is_same = u64(said + SAID_FLOW) == u32(u + UP_FLOW) + 1 and u64(said + SAID_BIRTH) == u32(record + FLOW_BIRTH)
    if not is_same or u64(w + W_NOW_NS) - u64(said + SAID_BORN_NS) > SAID_NS:
        return 0
    if is_redirect:
        if write_url(asks + A_URL, URL_ROOM, answer + ANSWER_URL, u64(answer + ANSWER_URL_BYTES)) == 0:
            return 0
    else:
        write_text(asks + A_TEXT, TEXT_ROOM, answer + ANSWER_TEXT, u64(answer + ANSWER_TEXT_BYTES))
    put64(fills + PLACE_TEXT * FILL_BYTES, asks + A_TEXT)
    put64(fills + PLACE_TEXT * FILL_BYTES + 8, TEXT_ROOM)
    put64(fills + PLACE_URL * FILL_BYTES, asks + A_URL)
    put64(fills + PLACE_URL * FILL_BYTES + 8, URL_ROOM)
    return find_hook_page(snapshot, u64(said + SAID_CATEGORY), is_redirect)
