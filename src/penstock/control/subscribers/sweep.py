"""What time does to the rows: sessions and pauses that are over, a NAS's sessions behind its restart, who is forgotten.

Each takes a bounded share and says whether there is more, so that a million sessions that end at once hold nobody up. What
a restart cut off counts as over for whoever claims it before it is taken away (`batch`).
"""

import sqlite3

from penstock.control.subscribers.batch import SHARE, Batch
from penstock.control.subscribers.store import Nas
from penstock.control.subscribers.words import PAUSED

DAY_S = 86_400
SCHEDULES_SHARE = 250  # schedules that begin or end in one transaction: about 50 ms, too


def sweep_restarts(batch: Batch) -> None:
    """Take away what restarts cut off and is still there."""
    for nas in [nas for nas in batch.catalogue.nas.values() if nas.is_over]:
        sweep_nas(batch, nas)


def sweep_nas(batch: Batch, nas: Nas) -> None:
    """Take away the places of a NAS's sessions from before its restart, as many as this transaction may."""
    batch.rows.write()
    query = "SELECT * FROM sessions WHERE nas=? AND session>=? ORDER BY session LIMIT ?"
    rows = batch.store.connection.execute(query, (nas.code, nas.swept_row, batch.share)).fetchall()
    sessions = batch.rows.take_sessions(rows)
    batch.rows.fetch_places([key for session in sessions for key in session.live])
    for session in sessions:
        batch.cut_off(session)
    if len(rows) == batch.share:
        nas.swept_row = rows[-1][0] + 1 if rows else nas.swept_row
        batch.updates.is_more = True
    else:
        nas.is_over = False
        batch.catalogue.save_nas(nas)
    batch.share -= len(rows)


def end_sessions(batch: Batch) -> None:
    """Take away what was not said again, and words of Releases that are old."""
    query = "SELECT * FROM sessions WHERE expires_s<=? ORDER BY expires_s LIMIT ?"
    rows = batch.store.connection.execute(query, (batch.now_s, SHARE)).fetchall()
    sessions = batch.rows.take_sessions(rows)
    batch.rows.fetch_places([key for session in sessions for key in session.live])
    for session in sessions:
        if session.number is not None:
            batch.updates.counts["expired"] += 1
        for key in list(session.live):
            batch.drop(session, key)
        session.gone = {key: gone for key, gone in session.gone.items() if gone[1] > batch.now_s}
        if session.released_until_s <= batch.now_s:
            session.released_ms, session.released_until_s = -1, 0
        session.end()
    batch.updates.is_more |= len(rows) == SHARE
    batch.rows.write()


def end_pauses(batch: Batch) -> None:
    """Pauses that are over."""
    connection: sqlite3.Connection = batch.store.connection
    query = f"SELECT number FROM changes WHERE field={PAUSED} AND value>0 AND value<=? LIMIT ?"
    numbers = [row[0] for row in connection.execute(query, (batch.now_ms, SHARE))]
    batch.rows.fetch_numbers(numbers)
    for number in numbers:
        changes = batch.hold(batch.rows.find_number(number)).changes
        changes[PAUSED] = 0, changes[PAUSED][1]
    connection.executemany(
        f"UPDATE changes SET value=0 WHERE number=? AND field={PAUSED}", [(number,) for number in numbers]
    )
    batch.updates.is_more |= len(numbers) == SHARE


def turn_schedules(batch: Batch) -> None:
    """What begins and ends by the clock: `Batch.finish` says what holds now, and notes when to look again."""
    query = "SELECT number FROM choices WHERE next_s<=? ORDER BY next_s LIMIT ?"
    numbers = [row[0] for row in batch.store.connection.execute(query, (batch.now_s, SCHEDULES_SHARE))]
    batch.rows.fetch_numbers(numbers)
    subscribers = [batch.rows.find_number(number) for number in numbers]
    batch.rows.fetch_all_words(subscribers)
    for subscriber in subscribers:
        batch.hold(subscriber)
    if numbers:
        batch.updates.counts["turned"] += len(numbers)
    batch.updates.is_more |= len(numbers) == SCHEDULES_SHARE


def forget_idle(batch: Batch) -> None:
    """Forget who had no place for `forget_days`, is not in the configuration, and for whom no call said anything."""
    end_s = batch.now_s - batch.settings.forget_days * DAY_S
    query = "SELECT number FROM subscribers WHERE is_idle AND seen_s<=? ORDER BY seen_s LIMIT ?"
    numbers = [row[0] for row in batch.store.connection.execute(query, (end_s, SHARE))]
    for number in numbers:
        batch.forget(number)
    batch.updates.is_more |= len(numbers) == SHARE
