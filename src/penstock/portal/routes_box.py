"""The box: how it is, what it counts, the switch, a reload."""

from typing import Any

from penstock.portal.answers import (
    Begun,
    CauseSeen,
    Counters,
    GuardSeen,
    HealthSeen,
    JournalSeen,
    LineRate,
    LinkSeen,
    ListsSeen,
    Sides,
    Status,
    SwitchAsked,
    SwitchTurned,
    read_time,
)
from penstock.portal.caller import Known
from penstock.portal.journal import stamp_time
from penstock.portal.portal import Here, Portal
from penstock.portal.rates import Traffic, read_traffic
from penstock.portal.routing import make_router

router = make_router("box")


@router.get("/status", operation_id="get_status")
def get_status(here: Here) -> Status:
    """How the box is, and what it judges by."""
    return read_status(here)


@router.put("/switch", operation_id="set_switch")
def set_switch(asked: SwitchAsked, here: Here, caller: Known) -> SwitchTurned:
    """The emergency switch. Off: the cable carries everything, nothing is judged."""
    answer = here.box.ask("switch", on=asked.on, by=caller.token.name)
    return SwitchTurned(is_on=asked.on, changed=bool(answer["changed"]))


@router.post("/reload", operation_id="reload", status_code=202)
def reload(here: Here, caller: Known) -> Begun:
    """Have configuration and lists read again, as SIGHUP does. What would refuse too much is not taken: `status` tells."""
    here.box.ask("reload", by=caller.token.name)
    return Begun()


@router.get("/counters", operation_id="get_counters")
def get_counters(here: Here) -> Counters:
    """Packets by verdict and reason, and the rates of the line."""
    return read_counters(here)


# ---- also for the live stream -----------------------------------------------------------------------------------------
def read_counters(here: Portal) -> Counters:
    """Raises PenstockError."""
    told, traffic = here.box.tell(), read_traffic()
    lines = {link["side"]: (link["name"], traffic.get(link["name"], Traffic())) for link in told["links"]}
    counters: dict[str, float] = {f"verdict {name}": count for name, count in told["verdicts"].items()}
    for side, (_, one) in lines.items():
        counters |= {f"{side} {name}": getattr(one, name) for name in Traffic.__dataclass_fields__}
    rates = here.rates.find(counters)
    return Counters(
        time=stamp_time(told["at_s"]),
        seen=told["seen"],
        difference=told["difference"],
        waiting=told["waiting"],
        verdicts=told["verdicts"],
        reasons=told["reasons"],
        packets_per_s={name: rates[f"verdict {name}"] for name in told["verdicts"]},
        lines=[_describe_line(side, name, one, rates) for side, (name, one) in lines.items()],
        ring_to_wire_us=told["ring_to_wire_us"],
        active_exceptions=[one["cause"] for one in told["exceptions"] if one["active_s"] is not None],
        is_on=told["is_on"],
    )


def _describe_line(side: str, name: str, traffic: Traffic, rates: dict[str, float]) -> LineRate:
    return LineRate(
        side=side,
        name=name,
        received_bytes=traffic.received_bytes,
        received_packets=traffic.received_packets,
        sent_bytes=traffic.sent_bytes,
        sent_packets=traffic.sent_packets,
        received_bits_per_s=8 * rates[f"{side} received_bytes"],
        received_packets_per_s=rates[f"{side} received_packets"],
        sent_bits_per_s=8 * rates[f"{side} sent_bytes"],
        sent_packets_per_s=rates[f"{side} sent_packets"],
    )


def read_status(here: Portal) -> Status:
    """Raises PenstockError."""
    told, kept = here.box.tell(), here.journal.describe()
    causes = [
        CauseSeen(
            cause=one["cause"],
            packets=one["packets"],
            is_active=one["active_s"] is not None,
            active_s=one["active_s"],
        )
        for one in told["exceptions"]
    ]
    links = [LinkSeen(**link) for link in told["links"]]
    is_well = told["is_on"] and told["difference"] == 0 and all(link.is_up for link in links)
    return Status(
        time=stamp_time(told["at_s"]),
        is_healthy=is_well and not any(cause.is_active for cause in causes),
        is_on=told["is_on"],
        version=told["version"],
        layout=told["layout"],
        ledger_difference=told["difference"],
        waiting=told["waiting"],
        ring_to_wire_us=told["ring_to_wire_us"],
        exceptions=causes,
        links=links,
        health={name: _describe_health(one) for name, one in told["health"].items()},
        guard=GuardSeen(**told["guard"]),
        lists=ListsSeen(
            generation=told["generation"],
            names=told["names"],
            built=read_time(told["built_s"]),
            is_reloading=told["is_reloading"],
        ),
        journal=JournalSeen(
            rows=kept["rows"],
            oldest=read_time(kept["oldest_s"]),
            lost_events=kept["lost"] + told["unwritten_events"] + told["lost_events"],
            keep_days=here.settings.keep_days,
        ),
    )


def _describe_health(told: dict[str, Any]) -> HealthSeen:
    sides = {name: Sides(**told[name]) for name in ("segments", "repeated", "resets", "median_ms")}
    return HealthSeen(handshakes=told["handshakes"], completed=told["completed"], **sides)
