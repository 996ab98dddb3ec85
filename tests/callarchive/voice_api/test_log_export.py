"""The export job against a simulated 8x8, with every final status and every fault."""

import gzip
import io
import json
import logging
import shutil
import time
import zipfile
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from callarchive.domain.errors import (
    AccessDeniedError,
    ExportCancelledError,
    ExportError,
    ExportExpiredError,
    ExportFailedError,
    ExportServerError,
    StoreError,
    UnavailableError,
)

START = datetime(2026, 11, 1, tzinfo=UTC)
END = START + timedelta(days=1)
EXPORTS = "/api/v1/subaccounts/acme_sg/messages/exports"
CSV = b"SessionId,CallId\r\ne35e3d0e-065a-11ec-b119-676cb2bc33ef,1\r\n"


class Job:
    """A simulated 8x8: `states` one after the other (the last one repeated), `files` by path."""

    def __init__(self, server, reply):
        self.reply = reply
        self.server = server
        self.accept = reply(202, {"jobId": "job-1"})
        self.states = [{"status": "succeeded", "data": [f"{server.url}/files/0"]}]
        self.files = {"/files/0": [reply(body=CSV)]}
        self.cancel = reply(204)
        server.answer = self.answer

    def answer(self, ask):
        with self.server.lock:
            if ask.method == "POST":
                return self.accept
            if ask.method == "DELETE":
                return self.cancel
            if ask.path in self.files:
                replies = self.files[ask.path]
                return replies.pop(0) if len(replies) > 1 else replies[0]
            state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            return state if isinstance(state, self.reply) else self.reply(body=state)

    def requested(self, method, path=""):
        return [ask for ask in self.server.received if ask.method == method and ask.path.startswith(path)]


@pytest.fixture
def job(server, reply):
    return Job(server, reply)


def fetch(client, start=START, end=END):
    with client.call_log(start, end) as files:
        return [path.read_bytes() for path in files]


def test_a_time_range_is_requested_in_utc_without_a_limit(job, make_client, key):
    singapore = timezone(timedelta(hours=8))
    start = datetime(2026, 11, 1, tzinfo=singapore)
    assert fetch(make_client(), start, datetime(2026, 11, 2, 0, 0, 0, 1, singapore)) == [CSV]
    (ask,) = job.requested("POST")
    assert (ask.path, json.loads(ask.body)) == (
        EXPORTS,
        {"from": "2026-10-31T16:00:00Z", "to": "2026-11-01T16:00:01Z", "limit": 0},
    )
    assert ask.headers["content-type"] == "application/json"
    assert {ask.headers["authorization"] for ask in job.server.received} == {f"Bearer {key}"}
    assert job.requested("DELETE") == []


def test_the_files_are_private_and_deleted_afterwards(job, make_client):
    with make_client().call_log(START, END) as files:
        (file,) = files
        assert file.parent.stat().st_mode & 0o777 == 0o700
    assert not file.parent.exists()


def test_pauses_between_polls_grow_up_to_fifteen_seconds(job, make_client, slept):
    job.states = [{"status": "queued"}, {"status": "Running"}] + [{"status": "running"}] * 20 + job.states
    assert fetch(make_client(export_deadline_s=1000)) == [CSV]
    pauses = [pause for pause in slept if pause >= 0.1]
    assert pauses[0] <= 0.5
    assert pauses == sorted(pauses)
    assert pauses[-1] == 15
    assert len(pauses) == 22


def test_an_empty_export_has_no_files(job, make_client):
    job.states = [{"status": "queued"}, {"status": "empty"}]
    assert fetch(make_client()) == []
    assert job.requested("DELETE") == []


@pytest.mark.parametrize(
    ("status", "error"),
    [("failed", ExportFailedError), ("cancelled", ExportCancelledError), ("error", ExportServerError)],
)
def test_each_failed_status_has_its_own_error(job, make_client, status, error):
    job.states = [{"status": status}]
    with pytest.raises(error, match="acme_sg") as caught:
        fetch(make_client())
    assert type(caught.value) is error
    assert caught.value.retryable
    assert (job.requested("DELETE"), len(job.requested("POST"))) == ([], 1)


@pytest.mark.parametrize("state", [{"status": "archived"}, {}, {"status": None}, {"status": 5}])
def test_a_job_with_an_unknown_status_is_polled_for_a_while_and_then_cancelled(job, make_client, state):
    job.states = [state]
    with pytest.raises(ExportError, match="not documented by 8x8"):
        fetch(make_client(export_deadline_s=3000))
    assert len(job.requested("GET")) == 10
    assert [ask.path for ask in job.requested("DELETE")] == [f"{EXPORTS}/job-1"]


def test_a_temporary_unknown_status_is_tolerated(job, make_client):
    job.states = [{"status": "warming-up"}] * 5 + [{"status": "running"}] + [{"status": "paused"}] * 5 + job.states
    assert fetch(make_client()) == [CSV]


def test_a_job_that_never_ends_is_cancelled_at_the_deadline(job, make_client, slept):
    job.states = [{"status": "running"}]
    with pytest.raises(ExportError, match="export_deadline_s"):
        fetch(make_client(export_deadline_s=100))
    assert 60 < sum(slept) <= 101
    assert len(job.requested("DELETE")) == 1


def test_an_interrupt_cancels_the_job(job, make_client):
    def interrupt(_):
        raise KeyboardInterrupt

    job.states = [{"status": "running"}]
    with pytest.raises(KeyboardInterrupt):
        fetch(make_client(sleep=interrupt, requests_per_second=1e5))
    assert len(job.requested("DELETE")) == 1


def test_nothing_is_requested_without_a_temporary_folder(job, make_client, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    with pytest.raises(StoreError, match="TMPDIR"):
        fetch(make_client())
    assert job.server.received == []


@pytest.mark.parametrize("status", [404, 500])
def test_a_failed_cancel_does_not_hide_the_error(job, make_client, reply, status):
    job.states = [{"status": "odd"}]
    job.cancel = reply(status)
    with pytest.raises(ExportError, match="documented"):
        fetch(make_client(export_deadline_s=3000))
    assert len(job.requested("DELETE")) == 1


def test_a_job_unknown_to_8x8_is_reported_with_its_error_id(job, make_client, reply):
    lost = {
        "code": 4018,
        "message": "Invalid jobId",
        "errorId": "aa400d4b-fffe",
        "timestamp": "2020-09-25T07:18:22.78Z",
    }
    job.states = [reply(404, lost)]
    with pytest.raises(ExportError, match=r"404: Invalid jobId \(errorId aa400d4b-fffe\)"):
        fetch(make_client())


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (202, {}),
        (202, {"jobId": ""}),
        (202, {"jobId": ".."}),
        (202, {"jobId": "a b"}),
        (202, {"jobId": ["x"]}),
        (202, []),
        (422, {"statusMessage": "from is not before to"}),
        (404, b""),
        (204, b""),
        (302, b""),
    ],
)
def test_a_job_that_does_not_start_is_an_error(job, make_client, reply, status, body):
    job.accept = reply(status, body)
    with pytest.raises(ExportError, match="acme_sg"):
        fetch(make_client())


def test_a_job_id_is_encoded_and_200_is_accepted_like_202(job, make_client, reply):
    job.accept = reply(200, {"jobId": "a/b?c&%2e"})
    assert fetch(make_client()) == [CSV]
    assert job.requested("GET", EXPORTS)[0].path == f"{EXPORTS}/a%2Fb%3Fc%26%252e"


@pytest.mark.parametrize("data", [None, [], "", [""], [7], {"url": "x"}, [None]])
def test_success_without_links_is_an_error(job, make_client, data):
    job.states = [{"status": "succeeded", "data": data}]
    with pytest.raises(ExportError, match="succeeded, but"):
        fetch(make_client())


def test_a_single_link_without_a_list_may_be_relative(job, make_client):
    job.states = [{"status": "SUCCEEDED", "data": "/files/0"}]
    assert fetch(make_client()) == [CSV]


def test_several_files_keep_their_order_and_a_repeated_link_counts_once(job, make_client, reply):
    job.files = {f"/files/{n}": [reply(body=b"SessionId\n%d\n" % n)] for n in range(3)}
    job.states = [{"status": "succeeded", "data": [f"{job.server.url}/files/{n}" for n in (0, 1, 1, 2)]}]
    assert fetch(make_client()) == [b"SessionId\n0\n", b"SessionId\n1\n", b"SessionId\n2\n"]


@pytest.mark.parametrize(
    "fault",
    [
        {"body": CSV, "cut": 10},
        {"body": CSV, "framing": "chunked", "cut": 10},
        {"status": 500},
        {"status": 429},
        {"pieces": []},
    ],
)
def test_an_incomplete_file_is_downloaded_again(job, make_client, reply, fault):
    job.files["/files/0"] = [reply(**fault), reply(body=CSV)]
    assert fetch(make_client()) == [CSV]


TWO = CSV + b"f35e3d0e-065a-11ec-b119-676cb2bc33ef,2\r\n"
MAY_BE_CUT: dict[str, dict[str, Any]] = {
    "no end announced": {"body": TWO, "framing": "close"},
    "cut at a line, no end announced": {"body": CSV, "framing": "close"},
    "packed, no end announced": {"body": gzip.compress(TWO), "framing": "close"},
    "a length that is none": {"body": CSV, "framing": "close", "headers": {"Content-Length": "12 kB"}},
    "a negative length": {"body": CSV, "framing": "close", "headers": {"Content-Length": "-1"}},
    "no line end": {"body": TWO[:-20]},
    "no line end, but a whole id": {"body": TWO[:-2]},
    "between CR and LF": {"body": TWO[:-1]},
    "chunked, no line end": {"body": TWO[:-20], "framing": "chunked"},
    "gzip of a cut file": {"body": gzip.compress(TWO[:-20])},
    "cut gzip": {"body": gzip.compress(TWO)[:-9]},
    "cut gzip transfer": {"body": gzip.compress(TWO)[:-9], "headers": {"Content-Encoding": "gzip"}},
    "a part": {"body": CSV, "headers": {"Content-Range": "bytes 0-53/90"}},
    "HTML": {"body": "<!DOCTYPE html>\n<html></html>\n"},
    "JSON": {"body": {"code": 4018, "message": "Invalid jobId"}},
    "JSON over lines": {"body": '\n[\n{"SessionId": "x"}\n]\n'},
    "nothing": {"body": b""},
    "blank lines": {"body": b"\r\n\r\n"},
}


@pytest.mark.parametrize("fault", MAY_BE_CUT)
def test_a_file_that_may_have_been_cut_is_downloaded_again_and_never_accepted(job, make_client, reply, fault):
    job.files["/files/0"] = [reply(**MAY_BE_CUT[fault]), reply(body=TWO)]
    assert fetch(make_client()) == [TWO]
    job.files["/files/0"] = [reply(**MAY_BE_CUT[fault])]
    with pytest.raises(ExportError, match=r"file 0000: .*run the day again") as caught:
        fetch(make_client())
    assert caught.value.retryable
    assert len(job.requested("GET", "/files/0")) == 2 + 3


def test_a_cut_file_among_several_fails_the_export(job, make_client, reply):
    job.files = {"/files/0": [reply(body=TWO)], "/files/1": [reply(body=TWO[:-20])], "/files/2": [reply(body=TWO)]}
    job.states = [{"status": "succeeded", "data": [f"/files/{number}" for number in range(3)]}]
    with pytest.raises(ExportError, match="file 0001: its last line has no line ending"):
        fetch(make_client())


def test_a_missing_file_among_several_fails_the_export(job, make_client, reply):
    job.states = [{"status": "succeeded", "data": ["/files/0", "/files/gone"]}]
    job.files["/files/gone"] = [reply(404)]
    with pytest.raises(ExportExpiredError, match="file 0001"):
        fetch(make_client())


@pytest.mark.parametrize("status", [204, 206, 300, 416])
def test_a_status_other_than_200_is_an_error(job, make_client, reply, status):
    job.files["/files/0"] = [reply(status, b"" if status == 204 else CSV)]
    with pytest.raises(ExportError, match=f"HTTP {status}"):
        fetch(make_client())


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_ending_is_accepted(job, make_client, reply, line_end):
    body = TWO.decode().replace("\r\n", line_end).encode()
    job.files["/files/0"] = [reply(body=b"\xef\xbb\xbf" + body)]
    assert fetch(make_client()) == [b"\xef\xbb\xbf" + body]


def test_a_redirect_to_a_page_of_the_same_host_is_an_error(job, make_client, reply):
    job.files["/files/0"] = [reply(302, headers={"Location": "/files/login"})]
    job.files["/files/login"] = [reply(body="<html>\nlog in\n</html>\n")]
    with pytest.raises(ExportError, match="HTML"):
        fetch(make_client())


@pytest.mark.parametrize("error", [PermissionError(1, "Operation not permitted"), OSError(39, "Directory not empty")])
def test_a_folder_that_cannot_be_removed_is_a_warning(job, make_client, monkeypatch, caplog, error):
    def refuse(*_, **__):
        raise error

    for name in ("rmdir", "unlink", "chmod"):
        monkeypatch.setattr(f"os.{name}", refuse)
    with make_client().call_log(START, END) as files:
        (file,) = files
    monkeypatch.undo()
    assert f"temporary folder {file.parent} cannot be removed ({error.strerror})" in caplog.text
    shutil.rmtree(file.parent)


def test_a_dripping_download_ends_at_the_deadline(job, make_client, reply):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    job.files["/files/0"] = [reply(pieces=[head, *[b"x"] * 1000], every_s=0.05)]
    begun = time.monotonic()
    with pytest.raises(UnavailableError, match=r"within 0\.5 s"):
        fetch(make_client(export_deadline_s=0.5))
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("status", [403, 404, 410])
def test_expired_files_are_exported_once_more(job, make_client, reply, status):
    job.files["/files/0"] = [reply(status), reply(body=CSV)]
    assert fetch(make_client()) == [CSV]
    assert len(job.requested("POST")) == 2

    job.files["/files/0"] = [reply(status)]
    with pytest.raises(ExportExpiredError):
        fetch(make_client())
    assert len(job.requested("POST")) == 4


def test_a_past_expiry_is_an_error_and_a_future_one_is_not(job, make_client):
    link = job.states[0]["data"]
    old = {"status": "succeeded", "data": link, "expires": "2026-11-02T05:59:59.74Z"}
    job.states = [old, old | {"expires": "2026-12-02T06:58:41.74Z"}]
    assert fetch(make_client()) == [CSV]
    job.states = [old]
    with pytest.raises(ExportExpiredError, match="2026-11-02T05:59Z"):
        fetch(make_client())


def test_a_rejected_key_on_a_download_is_not_an_expiry(job, make_client, reply):
    job.files["/files/0"] = [reply(401)]
    with pytest.raises(AccessDeniedError):
        fetch(make_client())
    assert len(job.requested("POST")) == 1


def test_a_rejected_key_on_the_job_ends_it_without_another_request(job, make_client, reply):
    job.states = [reply(403)]
    with pytest.raises(AccessDeniedError):
        fetch(make_client())
    assert len(job.server.received) == 2


def test_a_link_to_another_host_is_refused_and_receives_no_key(job, make_client, other_server, key):
    for link in (
        f"{other_server.url}/files/0",
        "https://evil.example/f?token=s3cr3t-token",
        f"http://127.0.0.1:{job.server.port}@{other_server.url[7:]}/f",
        f"http://127.0.0.1:{job.server.port}\\@{other_server.url[7:]}/f",
        f"//127.0.0.1:{other_server.port}/files/0",
        f"https://127.0.0.1:{job.server.port}/files/0",
        "file:///etc/passwd",
        "http://[::1/x",
        f"http://127.0.0.1:{job.server.port}/a\r\nX: y",
        "http://8x8.com.evil.example/x",
        "http://voice.8x8.com/x",
        "http://169.254.169.254/latest",
    ):
        job.states = [{"status": "succeeded", "data": [link]}]
        with pytest.raises(ExportError, match="refused") as caught:
            fetch(make_client())
        assert "s3cr3t" not in str(caught.value)
    assert other_server.received == []
    job.states = [{"status": "succeeded", "data": ["https://evil.example/x"]}]
    with pytest.raises(ExportError, match=r"https://evil\.example.*accounts\.api_url"):
        fetch(make_client())


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "127.9.9.9", "LOCALHOST"])
def test_all_loopback_names_are_one_host_requested_as_configured(job, make_client, host):
    job.states = [{"status": "succeeded", "data": [f"http://{host}:{job.server.port}/files/0"]}]
    assert fetch(make_client()) == [CSV]


def test_a_download_that_redirects_elsewhere_is_refused(job, make_client, reply, other_server):
    job.files["/files/0"] = [reply(302, headers={"Location": f"{other_server.url}/x"})]
    with pytest.raises(ExportError, match="redirects"):
        fetch(make_client())
    assert other_server.received == []


def zipped(*members):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return target.getvalue()


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"body": gzip.compress(CSV)}, [CSV]),
        ({"body": gzip.compress(CSV), "headers": {"Content-Encoding": "gzip"}}, [CSV]),
        ({"body": gzip.compress(gzip.compress(CSV)), "headers": {"Content-Encoding": "gzip"}}, [CSV]),
        ({"body": CSV, "headers": {"Content-Encoding": "gzip"}}, [CSV]),
        ({"body": zipped(("../../up.csv", CSV), ("b/", b""), ("b/two.csv", b"SessionId\n"))}, [CSV, b"SessionId\n"]),
    ],
)
def test_packed_files_are_unpacked(job, make_client, reply, fault, expected):
    job.files["/files/0"] = [reply(**fault)]
    assert fetch(make_client()) == expected


@pytest.mark.parametrize(
    "fault",
    [
        {"body": gzip.compress(CSV)[:-6]},
        {"body": gzip.compress(CSV)[:15] + b"\x00" * 20},
        {"body": zipped(("a.csv", CSV))[:-30]},
        {"body": zipped(("a/", b""))},
        {"body": zipped(("a.csv", CSV), ("b.csv", CSV[:-5]))},
        {"body": CSV, "headers": {"Content-Encoding": "br"}},
    ],
)
def test_a_damaged_compressed_file_is_an_error(job, make_client, reply, fault):
    job.files["/files/0"] = [reply(**fault)]
    with pytest.raises(ExportError, match="0000"):
        fetch(make_client())


def test_neither_key_nor_link_is_in_logs_or_messages(job, make_client, reply, key, caplog):
    caplog.set_level(logging.INFO)
    job.states = [{"status": "succeeded", "data": [f"{job.server.url}/files/s3cr3t-token"]}]
    for fault in (reply(404), reply(pieces=[]), reply(400)):
        job.files["/files/s3cr3t-token"] = [fault]
        with pytest.raises((ExportError, UnavailableError)) as caught:
            fetch(make_client())
        assert key not in str(caught.value)
        assert "s3cr3t" not in str(caught.value) + repr(caught.value.__cause__)
    assert key not in caplog.text
    assert "s3cr3t" not in caplog.text
