"""Exam mode of a school: while an exam is written, pupils reach the exam's server and nothing else.

`exams.csv` beside this file says when, in the school's own time; it is read again when it changes, like all of a project.
Who appears at one of the school's addresses is a pupil, whatever the register says of him.
"""

from ipaddress import ip_network

from penstock.hooks import Request, Subscriber, Verdict, on_request, on_subscriber

from .timetable import find_exam

ALLOWED = ("exams.school.example", "login.school.example")
CLASSROOMS = ip_network("10.20.0.0/16")


@on_request(profiles=["pupils"], hosts=ALLOWED)
def open_exam_server(request: Request) -> Verdict:
    """Whatever a list says of it: an exam does not end because of a list."""
    return Verdict.allow()


@on_request(profiles=["pupils"])
def close_everything_else(request: Request) -> Verdict | None:
    exam = find_exam(request.time)
    if exam is None:
        return None
    return Verdict.block("exam", f"{exam.name} is being written until {exam.ends:%H:%M}.")


@on_subscriber
def recognise_pupils(subscriber: Subscriber) -> str | None:
    networks = (ip_network(address) for address in subscriber.addresses)
    at_school = any(network.version == 4 and network.subnet_of(CLASSROOMS) for network in networks)
    return "pupils" if at_school else None
