"""Listings and requests at buckets that refuse, lie, drip or never end, and at other stores than AWS."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

import pytest

from callarchive.domain.errors import AccessDeniedError, AnswerError, ArchiveError, UnavailableError
from callarchive.domain.evidence import Absent, Present, Unknown
from callarchive.settings import AccountSettings, S3Settings, Secret, TransferSettings
from callarchive.storage.landing import Listing
from callarchive.storage.landing.s3.landing import S3Landing

Query = dict[str, str]
KEYS = [f"root/2026-11-{day:02d}/session/{number}.mp3" for day in (1, 2, 3) for number in range(2)]
PATHS = [key.removeprefix("root/") for key in KEYS]
DENIED = b"<Error><Code>AccessDenied</Code></Error>"


def page(keys: list[str], *, folders: list[str] = [], token: str | None = None, truncated: bool | None = None) -> bytes:  # noqa: B006
    """A page of a listing as S3 writes it."""
    contents = "".join(
        f"<Contents><Key>{escape(key)}</Key><LastModified>2026-11-04T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;{'0' * 32}&quot;</ETag><Size>3</Size></Contents>"
        for key in keys
    )
    prefixes = "".join(f"<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>" for folder in folders)
    more = token is not None if truncated is None else truncated
    next_token = "" if token is None else f"<NextContinuationToken>{token}</NextContinuationToken>"
    return (
        '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>{str(more).lower()}</IsTruncated>{next_token}{contents}{prefixes}</ListBucketResult>"
    ).encode()


def honest(query: Query, keys: list[str] = KEYS) -> bytes:
    """The page that an honest store with these keys would answer."""
    below = [key for key in sorted(keys) if key.startswith(query["prefix"]) and key > query.get("start-after", "")]
    if "delimiter" not in query:
        return page(below[: int(query.get("max-keys", 1000))])
    rests = [key[len(query["prefix"]) :] for key in below]
    folders = {f"{query['prefix']}{rest.partition('/')[0]}/" for rest in rests if "/" in rest}
    return page([query["prefix"] + rest for rest in rests if "/" not in rest], folders=sorted(folders))


class Store(ThreadingHTTPServer):
    """An S3 endpoint: `listing` answers listings, HEADs of `keys` that are not `denied` are answered by 200.

    Attributes:
        asked: the queries of listings, and the keys of HEADs.
        drip_s: so long each byte of a listing takes.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.listing: Callable[[Query], bytes | tuple[int, bytes]] = honest
        self.keys = set(KEYS)
        self.denied: set[str] = set()
        self.asked: list[Query | str] = []
        self.drip_s = 0.0
        self.over = Event()


class _Handler(BaseHTTPRequestHandler):
    server: Store
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query, True).items()}
        self.server.asked.append(query)
        answer = self.server.listing(query)
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not self.server.drip_s:
            self.wfile.write(body)
            return
        for at in range(len(body)):
            if self.server.over.wait(self.server.drip_s):
                return
            self.wfile.write(body[at : at + 1])

    def do_HEAD(self) -> None:
        key = urlsplit(self.path).path.removeprefix("/bucket/")
        self.server.asked.append(key)
        self.send_response(403 if key in self.server.denied else 200 if key in self.server.keys else 404)
        self.send_header("Content-Length", "3")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def store(aws_environment: None) -> Iterator[Store]:
    with Store() as store:
        thread = Thread(target=store.serve_forever, args=(0.02,))
        thread.start()
        yield store
        store.over.set()
        store.shutdown()
        thread.join()


@pytest.fixture
def landing(store: Store) -> Iterator[S3Landing]:
    with closing(landing_at(store)) as landing:
        yield landing


def landing_at(store: Store, *, deadline_s: float = 20) -> S3Landing:
    account = AccountSettings(
        subaccount_id="acme",
        api_key=Secret(env="UNUSED"),
        landing="s3://bucket/root",
        s3=S3Settings(endpoint_url=f"http://127.0.0.1:{store.server_port}", region="us-east-1"),
        session_sources=({"kind": "log_export"},),  # type: ignore[arg-type] # validated by pydantic
    )
    return S3Landing(account, TransferSettings(stall_timeout_s=5, deadline_s=deadline_s), concurrency=4)


def paths(listing: Listing) -> list[str]:
    return [item.path for item in listing.objects]


# Listings that do not end

_numbers = itertools.count()
ENDLESS: dict[str, tuple[Callable[[Query], bytes], int, str]] = {
    "the same page and token again": (lambda _: page(KEYS, token="same"), 6, "sent a page again"),
    "the same page with new tokens": (lambda _: page(KEYS, token=f"{next(_numbers)}"), 6, "sent a page again"),
    "nothing, with new tokens": (lambda _: page([], token=f"{next(_numbers)}"), 0, "nothing does"),
    "nothing, with one token": (lambda _: page([], token="same"), 0, "nothing does"),
    "new keys with one token": (lambda _: page([f"root/{next(_numbers)}.mp3"], token="same"), 2, "nothing does"),
    "more without a token": (lambda _: page(KEYS, truncated=True), 6, "and not where"),
    "alternating pages": (
        lambda query: page(
            KEYS[3:] if int(query.get("continuation-token", 0)) % 2 else KEYS[:3],
            token=f"{int(query.get('continuation-token', 0)) + 1}",
        ),
        6,
        "sent a page again",
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_listing_that_never_ends_is_stopped_and_reported(store: Store, landing: S3Landing, name: str) -> None:
    store.listing, count, reason = ENDLESS[name]
    listing = landing.list("")
    assert len(listing.objects) == count
    assert [gap.folder for gap in listing.gaps] == [""]
    assert str(listing.gaps[0]).startswith("s3://bucket/root: ")
    assert reason in listing.gaps[0].reason
    assert len(store.asked) < 15


@pytest.mark.parametrize("name", ENDLESS)
def test_a_folder_whose_listing_never_ends_does_not_affect_others(store: Store, landing: S3Landing, name: str) -> None:
    lie, _, _ = ENDLESS[name]
    store.listing = lambda query: lie(query) if query["prefix"] == "root/2026-11-02/" else honest(query)
    parts = [*landing.pages("", skip=lambda folder: folder == "2026-11-09")]
    assert [gap.folder for part in parts for gap in part.gaps] == ["2026-11-02"]
    assert {path for part in parts for path in paths(part)} >= {path for path in PATHS if "11-02" not in path}


def test_endless_new_keys_are_stopped(store: Store, landing: S3Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callarchive.storage.landing.s3.listing._ENTRIES_MAX", 20)
    numbers = itertools.count()
    store.listing = lambda _: page([f"root/{next(numbers):05d}.mp3" for _ in range(7)], token=f"t{next(numbers)}")
    listing = landing.list("")
    assert len(listing.objects) == 21
    assert "more than 20 objects" in listing.gaps[0].reason


def test_a_listing_that_drips_ends_at_its_deadline_with_what_came(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callarchive.storage.landing.deadlines._SHORTEST_S", 0.1)
    numbers = itertools.count()

    def one_key(query: Query) -> bytes:
        store.over.wait(0.05)
        return page([f"{query['prefix']}{next(numbers):05d}.mp3"], token=f"t{next(numbers)}")

    store.listing = one_key
    with closing(landing_at(store, deadline_s=2)) as landing:
        began = time.monotonic()
        listing = landing.list("")
        assert time.monotonic() - began < 10
        assert len(landing.list("2026-11-01").objects) <= len(listing.objects) / 2, "the next has less time"
    assert 0 < len(listing.objects) < 45
    assert "transfer.deadline_s" in listing.gaps[0].reason


def test_a_response_that_drips_ends_at_the_deadline(store: Store) -> None:
    store.drip_s = 0.05
    with closing(landing_at(store, deadline_s=0.4)) as landing:
        began = time.monotonic()
        with pytest.raises(UnavailableError, match=r"transfer\.deadline_s"):
            landing.list("")
        with pytest.raises(UnavailableError):
            landing.existing_folders(["2026-11-01"])
        assert time.monotonic() - began < 10


def test_unordered_and_empty_pages_are_accepted(store: Store, landing: S3Landing) -> None:
    pages = [
        page(["root/a/x.mp3"], token="1"),
        page([], token="2"),
        page([], token="3"),
        page(["root/a-b/y.mp3", "root/A.mp3"]),
    ]
    store.listing = lambda query: pages[int(query.get("continuation-token", "0"))]
    assert landing.list("").gaps == ()
    assert paths(landing.list("")) == ["a/x.mp3", "a-b/y.mp3", "A.mp3"]


@pytest.mark.parametrize(
    "body",
    [
        b"<html><body>Sign in</body></html>",
        b"",
        b"<ListBucketResult><Contents><Size>3</Size></Contents></ListBucketResult>",
        b"<ListBucketResult><Contents><Key>root/a.mp3</Key></Contents></ListBucketResult>",
        page(["elsewhere/a.mp3"]),
        page([], folders=["elsewhere/"]),
        page(KEYS)[:-40],
    ],
    ids=["page", "nothing", "no key", "no size", "other keys", "other folders", "cut"],
)
def test_other_responses_are_not_an_empty_landing(store: Store, landing: S3Landing, body: bytes) -> None:
    store.listing = lambda _: body
    actions: list[Callable[[], object]] = [
        lambda: landing.list(""),
        lambda: landing.list("2026-11-01"),
        lambda: landing.existing_folders(["2026-11-01", "2026-11-02"]),
        landing.check,
        landing.sample,
    ]
    for action in actions:
        with pytest.raises((AnswerError, UnavailableError)):
            action()


# What concerns one folder or object only


def denying(*prefixes: str) -> Callable[[Query], bytes | tuple[int, bytes]]:
    return lambda query: (403, DENIED) if query["prefix"].startswith(prefixes) else honest(query)


def test_a_folder_that_is_refused_is_a_gap_and_the_rest_is_listed(store: Store, landing: S3Landing) -> None:
    store.listing = denying("root/2026-11-02/")
    listing = [*landing.pages("", skip=lambda folder: folder == "2026-11-09")]
    assert [path for part in listing for path in paths(part)] == [path for path in PATHS if "11-02" not in path]
    (gap,) = [gap for part in listing for gap in part.gaps]
    assert (gap.folder, gap.uri) == ("2026-11-02", "s3://bucket/root/2026-11-02")
    assert "access denied" in gap.reason
    assert gap.may_hide("2026-11-02/session/0.mp3")
    assert not gap.may_hide("2026-11-01/session/0.mp3")
    assert landing.list("2026-11-02") == Listing([], (gap,))


@pytest.mark.parametrize(
    "answer", [(403, DENIED), (500, b""), (200, b"<html/>"), page([], token="t"), page([], truncated=True)]
)
def test_a_folder_whose_request_fails_is_unknown(
    store: Store, landing: S3Landing, answer: bytes | tuple[int, bytes]
) -> None:
    keys = [key for key in KEYS if "11-02" not in key]
    store.listing = lambda query: answer if query["prefix"] == "root/2026-11-02/" else honest(query, keys)
    found = landing.existing_folders(["2026-11-01", "2026-11-02", "2026-11-04"])
    assert found["2026-11-01"] == Present("s3://bucket/root/2026-11-01")
    assert isinstance(found["2026-11-02"], Unknown)
    assert found["2026-11-04"] == Absent("S3 lists no key below s3://bucket/root/2026-11-04/")


def without_its_first_folder(query: Query) -> bytes:
    """SeaweedFS 4: a listing of folders that starts after a folder's name leaves that folder out."""
    if "delimiter" in query and "start-after" in query:
        query = {**query, "start-after": query["start-after"] + "0"}
    return honest(query)


FORMS: dict[str, Callable[[Query], bytes | tuple[int, bytes]]] = {
    "starting after a folder leaves it out": without_its_first_folder,
    "folders are not listed": lambda query: page([]) if "delimiter" in query else honest(query),
    "folders are not listed, and no second page": lambda query: (
        page([]) if "delimiter" in query else (500, b"") if "max-keys" in query else honest(query)
    ),
    "a prefix lists nothing": lambda query: honest(query) if "delimiter" in query else page([]),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_folder_that_one_form_of_listing_lacks_exists(store: Store, landing: S3Landing, form: str) -> None:
    store.listing = FORMS[form]
    days = ["2026-11-01", "2026-11-02", "2026-11-03", "2026-11-04"]
    found = landing.existing_folders(days)
    assert [isinstance(found[day], Present) for day in days] == [True, True, True, False]
    assert isinstance(landing.existing_folders(days[:1])[days[0]], Present)


def test_a_landing_is_listed_where_folders_cannot_be(store: Store, landing: S3Landing) -> None:
    keys = [*KEYS, "root/flat.mp3"]
    store.listing = lambda query: page(["root/flat.mp3"]) if "delimiter" in query else honest(query, keys)
    found = [path for part in landing.pages("", skip=lambda _: False) for path in paths(part)]
    assert found == [*PATHS, "flat.mp3"]


def test_absent_folders_cost_a_request_each(store: Store, landing: S3Landing) -> None:
    landing.existing_folders([f"2026-11-{day:02d}" for day in range(1, 10)])
    assert len(store.asked) == 1 + 6


def test_a_refused_object_does_not_affect_others(store: Store, landing: S3Landing) -> None:
    store.denied = {"root/b.mp3"}
    store.keys |= {"root/a.mp3"}
    store.listing = lambda query: honest(query, [*KEYS, "root/a.mp3"]) if "start-after" not in query else (500, b"")
    stats = landing.stat_many(["a.mp3", "b.mp3", "c.mp3"])
    assert isinstance(stats["a.mp3"], Present)
    assert isinstance(stats["b.mp3"], Unknown)
    assert "s3://bucket/root/b.mp3" in stats["b.mp3"].reason
    assert isinstance(stats["c.mp3"], Absent)
    assert isinstance(landing.stat_many(["b.mp3"])["b.mp3"], Unknown), "the landing itself can be listed"


@pytest.mark.parametrize("response", [(403, DENIED), (503, b"")])
def test_a_landing_that_is_refused_as_a_whole_is_an_error(
    store: Store, landing: S3Landing, response: tuple[int, bytes]
) -> None:
    store.listing = lambda _: response
    store.denied = set(KEYS)
    actions: list[Callable[[], object]] = [
        lambda: landing.list(""),
        lambda: landing.list("2026-11-01"),
        lambda: landing.stat_many(PATHS),
        lambda: landing.existing_folders(["2026-11-01", "2026-11-02"]),
    ]
    for action in actions:
        with pytest.raises(ArchiveError) as caught:
            action()
        assert type(caught.value) is (AccessDeniedError if response[0] == 403 else UnavailableError)


def test_an_object_that_a_listing_lacks_is_confirmed_before_it_is_absent(store: Store, landing: S3Landing) -> None:
    store.listing = lambda query: honest(query, KEYS[1:])
    stats = landing.stat_many([*PATHS, "2026-11-01/session/9.mp3"])
    assert {path for path, finding in stats.items() if isinstance(finding, Present)} == set(PATHS)
    assert isinstance(stats["2026-11-01/session/9.mp3"], Absent)


def test_an_object_whose_listing_and_head_disagree_is_unknown(store: Store, landing: S3Landing) -> None:
    store.keys.clear()
    (finding,) = landing.stat_many(PATHS[:1]).values()
    assert isinstance(finding, Unknown)
    assert "a listing shows it" in finding.reason
    assert isinstance(landing.stat_many(["none.mp3"])["none.mp3"], Absent)
