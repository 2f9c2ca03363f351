"""When exams are written: `exams.csv`, in the school's own time, over changes of the clock."""

import csv
import pkgutil
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Europe/Madrid")


@dataclass(frozen=True)
class Exam:
    """One exam; both times are aware."""

    name: str
    begins: datetime
    ends: datetime


def read_exams() -> list[Exam]:
    """The exams of the file, in its order. A wrong line keeps the project from being loaded, and says so."""
    text = (pkgutil.get_data(__package__, "exams.csv") or b"").decode()
    exams = []
    for number, row in enumerate(csv.DictReader(text.splitlines()), 2):
        try:
            begins, ends = (
                datetime.fromisoformat(f"{row['date']}T{row[key]}").replace(tzinfo=ZONE) for key in ("from", "to")
            )
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"exams.csv:{number}: expected name,date,from,to such as 2026-06-08,09:00: {error}"
            ) from None
        exams.append(Exam(row["name"], begins, ends))
    return exams


EXAMS = read_exams()


def find_exam(time: datetime) -> Exam | None:
    """The exam that is being written. In UTC: within one zone Python compares clocks, which show 2:30 twice."""
    now = time.astimezone(UTC)
    return next((exam for exam in EXAMS if exam.begins.astimezone(UTC) <= now < exam.ends.astimezone(UTC)), None)
