"""So many API calls a second, and so many who watch live, until a line comes.

    python portal_calls.py URL CALLS WATCHERS         the token: the first line of standard input
    (a line as soon as all are answered)   {"calls_per_s": 199.9, "p50_ms": 3.1, "p99_ms": 9.0, "refused": 0, "told": 12}

Who asks would have processors of their own: here they give way, as the portal does. What is asked is what open pages ask:
counters, a subscriber, his choices, his events, an explanation.
"""

import json
import os
import sys
import threading
import time
from http.client import HTTPConnection

import httpx

PATHS = (
    "/counters",
    "/status",
    "/subscribers/home",
    "/subscribers/home/choices",
    "/subscribers/home/events",
    "/explain?host=bad.example.test&subscriber=home",
)
THREADS = 8
PREFIX = "/api/v1"


class Callers:
    """Threads that call in turn, each at its share of the rate."""

    def __init__(self, url: str, token: str, rate: float) -> None:
        self.url, self.rate = url, rate
        self.headers = {"Authorization": f"Bearer {token}"}
        self.stops = threading.Event()
        self.delays: list[float] = []
        self.refused = self.told = 0

    def call(self, number: int) -> None:
        """Call at a fixed rate, also when answers are late."""
        step_s = THREADS / self.rate
        due_s, turn = time.monotonic() + step_s * number / THREADS, number
        client = HTTPConnection(self.url.partition("//")[2], timeout=30)  # little of the processors that it shares
        while not self.stops.is_set():
            time.sleep(max(0.0, due_s - time.monotonic()))
            begin_s = time.monotonic()
            client.request("GET", PREFIX + PATHS[turn % len(PATHS)], headers=self.headers)
            answer = client.getresponse()
            answer.read()
            self.delays.append(time.monotonic() - begin_s)
            self.refused += answer.status != 200
            due_s, turn = due_s + step_s, turn + 1
        client.close()

    def watch(self) -> None:
        """Read the live stream."""
        with httpx.stream("GET", f"{self.url}{PREFIX}/live", headers=self.headers, timeout=30) as answer:
            for line in answer.iter_lines():
                self.told += line.startswith("data:")
                if self.stops.is_set():
                    return


def main() -> None:
    """Begin, say so, and end with the next line."""
    os.nice(5)
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    url, calls, watchers = sys.argv[1:]
    callers = Callers(url, sys.stdin.readline().strip(), float(calls))
    end_s = time.monotonic() + 60
    while True:  # the portal may just be starting
        try:
            if httpx.get(
                f"{callers.url}{PREFIX}/explain?host=x.example&subscriber=home", headers=callers.headers
            ).is_success:
                break
        except httpx.HTTPError:
            pass
        if time.monotonic() > end_s:
            sys.exit("the portal does not answer")
        time.sleep(0.1)
    threads = [threading.Thread(target=callers.call, args=(number,)) for number in range(THREADS)]
    threads += [threading.Thread(target=callers.watch) for _ in range(int(watchers))]
    begin_s = time.monotonic()
    for thread in threads:
        thread.start()
    print(flush=True)
    sys.stdin.readline()
    lasted_s = time.monotonic() - begin_s
    callers.stops.set()
    for thread in threads:
        thread.join()
    delays = sorted(callers.delays)
    figures = {"calls_per_s": len(delays) / lasted_s, "refused": callers.refused, "told": callers.told}
    for percent in (50, 99):
        figures[f"p{percent}_ms"] = 1000 * delays[len(delays) * percent // 100]
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
