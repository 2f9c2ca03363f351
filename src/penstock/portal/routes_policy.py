"""What the policy in force has: profiles, services, categories, lists."""

from datetime import UTC, datetime

from penstock.control.lists.feed_cache import Feed, find_feeds, read_record
from penstock.portal.answers import (
    CategoriesSeen,
    CategorySeen,
    ListSeen,
    ProfileSeen,
    ProfilesSeen,
    ServiceSeen,
    ServicesSeen,
    SourcesSeen,
    read_time,
)
from penstock.portal.portal import Here
from penstock.portal.routing import make_router

router = make_router("policy")


@router.get("/profiles", operation_id="list_profiles")
def list_profiles(here: Here) -> ProfilesSeen:
    """The bundles of choices that subscribers are given."""
    configuration = here.box.configuration
    profiles = [
        ProfileSeen(
            name=name,
            services=list(one.services),
            safe_search=one.safe_search,
            youtube=one.youtube,
            ech=one.ech,
            unresolved=one.unresolved,
        )
        for name, one in configuration.profiles.items()
    ]
    return ProfilesSeen(profiles=profiles, default=configuration.subscriber_register.default_profile)


@router.get("/services", operation_id="list_services")
def list_services(here: Here) -> ServicesSeen:
    """The products that a subscriber switches on or off."""
    services = [
        ServiceSeen(
            name=name,
            categories={category: str(action) for category, action in one.categories.items()},
            report_only=getattr(one, "report_only", False),
            share=getattr(one, "share", 1.0),
        )
        for name, one in here.box.configuration.services.items()
    ]
    return ServicesSeen(services=services, safe_search=bool(here.box.configuration.dns.resolvers))


@router.get("/categories", operation_id="list_categories")
def list_categories(here: Here) -> CategoriesSeen:
    """What names are listed as, and which services act on it."""
    configuration = here.box.configuration
    return CategoriesSeen(
        categories=[
            CategorySeen(
                name=name,
                services=[service for service, one in configuration.services.items() if name in one.categories],
                lists=sum(source.category == name and not source.allow for source in configuration.lists),
            )
            for name in configuration.category_names
        ]
    )


@router.get("/lists", operation_id="list_lists")
def list_lists(here: Here) -> SourcesSeen:
    """The lists in force: of which file or address, and how the last fetch of one that is fetched went."""
    configuration = here.box.configuration
    feeds = {feed.url: feed for feed in find_feeds(configuration)}
    built = read_time(here.box.tell()["built_s"])
    return SourcesSeen(
        lists=[
            _describe_feed(feeds[source.url], source.category, source.format, built)
            if source.url is not None
            else ListSeen(
                category=source.category,
                source=str(source.path),
                is_feed=False,
                format=source.format,
                entries=None,
                built=built,
                fetched=_find_change(source.path.stat().st_mtime) if source.path.exists() else None,
                checked=None,
                next_fetch=None,
                error=None if source.path.exists() else "the file is gone",
            )
            for source in configuration.lists
        ]
    )


def _find_change(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)


def _describe_feed(feed: Feed, category: str, written: str, built: datetime | None) -> ListSeen:
    record = read_record(feed)
    last_s = max(record.checked_s, record.refused_s)
    entries = [counts.entries for counts in record.counts if counts.category == category]
    return ListSeen(
        category=category,
        source=feed.shown,
        is_feed=True,
        format=written,
        entries=sum(entries) if record.sha256 else None,
        built=built,
        fetched=read_time(record.fetched_s or None),
        checked=read_time(record.checked_s or None),
        next_fetch=read_time(last_s + feed.terms.every_s) if last_s else None,
        error=record.refused or None,
    )
