"""New domains at night: from 22:00 to 6:00 a name of the category `new` is for adults alone.

A feed of newly registered names fills the category; phishing lives there in its first hours, and who sleeps needs none.
By day, and for adults, lists and profiles decide as they would without this file.
"""

from datetime import time
from zoneinfo import ZoneInfo

from penstock.hooks import Request, Verdict, on_request

ZONE = ZoneInfo("Europe/Madrid")
NIGHT_BEGINS, NIGHT_ENDS = time(22), time(6)
ADULTS = {"adults"}


@on_request(categories=["new"])
def close_new_names_at_night(request: Request) -> Verdict | None:
    clock = request.time.astimezone(ZONE).time()
    is_night = clock >= NIGHT_BEGINS or clock < NIGHT_ENDS
    if is_night and request.profile not in ADULTS:
        return Verdict.block("new", "This site is only a few days old. It opens at 6:00.")
    return None
