"""The downloader against a server that does everything a server may do wrong, over a real socket."""

from __future__ import annotations

import hashlib
import json
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from csd_addon.runtime.errors import DownloadFailed
from csd_addon.runtime.teachers import file_download
from csd_addon.runtime.teachers.file_download import FileRequest, fetch, require_space

BODY = bytes(range(256)) * 4096
SUM = hashlib.sha256(BODY).hexdigest()


def weights(count: int = 5000) -> bytes:
    """A sound safetensors file."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(count)


class Hostile(BaseHTTPRequestHandler):
    """Answers ``/name`` by the function of that name in ``tricks``; notes every request."""

    tricks: dict[str, Callable[[Hostile], None]] = {}
    asked: list[tuple[str, str | None]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Range")))
        self.tricks[self.path.strip("/")](self)

    def log_message(self, *arguments: object) -> None:
        pass

    def answer(self, body: bytes, status: int = 200, length: int | None = -1, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(len(body) if length < 0 else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def start(self) -> int:
        """The first byte that was asked for."""
        return int((self.headers.get("Range") or "bytes=0-")[6:-1])

    def honest(self, body: bytes = BODY) -> None:
        start = self.start()
        if start >= len(body) > 0 and start:
            return self.answer(b"", 416, Content_Range=f"bytes */{len(body)}")
        if start:
            return self.answer(body[start:], 206, Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.answer(body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(file_download, "PAUSE_SECONDS", 0.01)
    Hostile.tricks = {"good": Hostile.honest}
    Hostile.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def wanted(tmp_path: Path, *addresses: str, name: str = "file.bin", **known: object) -> FileRequest:
    values = {"limit": len(BODY), "size": len(BODY), "sha256": SUM, **known}
    return FileRequest(tmp_path / name, addresses, **values)  # type: ignore[arg-type]


def quiet(done: int, total: int) -> None:
    pass


def trick(function: Callable[[Hostile], None], name: str = "bad") -> None:
    Hostile.tricks[name] = function


def refused(tmp_path: Path, server: str, words: str, **known: object) -> None:
    """The bad address alone fails with ``words``; with a good one after it the file comes all the same."""
    with pytest.raises(DownloadFailed, match=words) as caught:
        fetch(wanted(tmp_path, f"{server}/bad", **known), quiet)
    print(caught.value)
    assert not (tmp_path / "file.bin").exists()
    fetch(wanted(tmp_path, f"{server}/bad", f"{server}/good", **known), quiet)
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_a_good_server_gives_the_file_and_its_sum(tmp_path: Path, server: str) -> None:
    seen: list[tuple[int, int]] = []
    goal = wanted(tmp_path / "new folder", f"{server}/good")
    assert fetch(goal, lambda *news: seen.append(news)) == SUM
    assert goal.target.read_bytes() == BODY and not goal.part.exists()
    assert seen[-1] == (len(BODY), len(BODY)) and seen == sorted(seen)


def test_a_part_is_continued_where_it_ended(tmp_path: Path, server: str) -> None:
    goal = wanted(tmp_path, f"{server}/good")
    goal.part.write_bytes(BODY[:1000])
    assert fetch(goal, quiet) == SUM
    assert Hostile.asked == [("/good", "bytes=1000-")]


def test_a_part_that_is_whole_already_only_needs_its_check(tmp_path: Path, server: str) -> None:
    goal = wanted(tmp_path, f"{server}/good")
    goal.part.write_bytes(BODY)
    assert fetch(goal, quiet) == SUM


def test_a_whole_part_is_held_against_the_sum_that_the_server_announces(tmp_path: Path, server: str) -> None:
    trick(lambda h: h.answer(b"", 302, Location=f"{server}/good", X_Linked_Etag=f'"{SUM}"'))
    goal = wanted(tmp_path, f"{server}/bad", sha256=None)
    goal.part.write_bytes(BODY[::-1])
    with pytest.raises(DownloadFailed, match="its sha256"):
        fetch(goal, quiet)
    assert not goal.target.exists() and not goal.part.exists()
    goal.part.write_bytes(BODY)
    assert fetch(goal, quiet) == SUM


def test_a_part_longer_than_the_file_is_begun_again(tmp_path: Path, server: str) -> None:
    goal = wanted(tmp_path, f"{server}/good")
    goal.part.write_bytes(BODY + b"more")
    assert fetch(goal, quiet) == SUM and Hostile.asked == [("/good", None)]


def test_a_server_without_range_sends_everything_again(tmp_path: Path, server: str) -> None:
    trick(lambda h: h.answer(BODY))
    goal = wanted(tmp_path, f"{server}/bad")
    goal.part.write_bytes(b"x" * 5000)
    assert fetch(goal, quiet) == SUM


def test_a_server_that_sends_another_part_is_asked_for_the_whole(tmp_path: Path, server: str) -> None:
    def wrong_part(h: Hostile) -> None:
        if h.start():
            return h.answer(BODY[5:], 206, Content_Range=f"bytes 5-{len(BODY) - 1}/{len(BODY)}")
        h.answer(BODY)

    trick(wrong_part)
    goal = wanted(tmp_path, f"{server}/bad")
    goal.part.write_bytes(BODY[:1000])
    assert fetch(goal, quiet) == SUM


def test_a_connection_that_dies_midway_is_taken_up_again(tmp_path: Path, server: str) -> None:
    def dying(h: Hostile) -> None:
        start = h.start()
        body = BODY[start : start + 400_000]
        ranged = {"Content_Range": f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"} if start else {}
        h.answer(body, 206 if start else 200, len(BODY) - start, **ranged)
        h.close_connection = True

    trick(dying)
    assert fetch(wanted(tmp_path, f"{server}/bad"), quiet) == SUM
    assert [start for _, start in Hostile.asked] == [None, "bytes=400000-", "bytes=800000-"]


def test_a_body_that_always_ends_early_is_refused_and_kept(tmp_path: Path, server: str) -> None:
    trick(lambda h: h.answer(BODY[:999], length=len(BODY)) if not h.start() else h.answer(b"", 503))
    refused(tmp_path, server, "answered 503")
    assert ("/good", "bytes=999-") in Hostile.asked


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_refusal_is_told_with_its_number(tmp_path: Path, server: str, status: int) -> None:
    trick(lambda h: h.answer(b"no", status))
    refused(tmp_path, server, f"127.0.0.1 answered {status}")
    tries = sum(path == "/bad" for path, _ in Hostile.asked)
    assert tries == 2 * (file_download.ATTEMPTS if status >= 500 else 1)


def test_a_stalled_connection_is_given_up(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_download, "STALL_SECONDS", 0.3)

    def stalled(h: Hostile) -> None:
        h.answer(BODY[:100], length=len(BODY))
        h.wfile.flush()
        time.sleep(1.5)

    trick(stalled)
    refused(tmp_path, server, "stalled|broke off")


def test_a_trickle_counts_as_stalled(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_download, "STALL_SECONDS", 0.3)
    monkeypatch.setattr(file_download, "ATTEMPTS", 1)

    def trickle(h: Hostile) -> None:
        h.answer(b"", length=len(BODY))
        for byte in BODY[:50]:
            h.wfile.write(bytes([byte]))
            time.sleep(0.05)

    trick(trickle)
    refused(tmp_path, server, "stalled at")


@pytest.mark.parametrize("place", ["file:///etc/hostname", "ftp://127.0.0.1/x", "data:text/plain,hello"])
def test_a_redirect_to_another_kind_of_address_is_not_followed(tmp_path: Path, server: str, place: str) -> None:
    trick(lambda h: h.answer(b"", 302, Location=place))
    refused(tmp_path, server, "redirects to a|not allowed")


def test_a_redirect_from_https_to_http_is_not_followed() -> None:
    from urllib.request import Request

    with pytest.raises(file_download._Refused, match="http address"):
        file_download._Redirects().redirect_request(Request("https://a/x"), None, 302, "", {}, "http://a/x")  # type: ignore


def test_a_redirect_to_the_web_is_followed_and_its_sum_believed(tmp_path: Path, server: str) -> None:
    trick(lambda h: h.answer(b"", 302, Location=f"{server}/good", X_Linked_Etag=f'"{SUM}"'))
    assert fetch(wanted(tmp_path, f"{server}/bad", sha256=None), quiet) == SUM
    trick(lambda h: h.answer(b"", 302, Location=f"{server}/good", X_Linked_Etag=f'"{"0" * 64}"'))
    with pytest.raises(DownloadFailed, match="sha256"):
        fetch(wanted(tmp_path, f"{server}/bad", name="other.bin", sha256=None), quiet)


def test_a_circle_of_redirects_ends(tmp_path: Path, server: str) -> None:
    trick(lambda h: h.answer(b"", 302, Location=f"{server}/bad"))
    refused(tmp_path, server, "answered 302")


def test_a_wrong_file_of_the_right_length_is_deleted(tmp_path: Path, server: str) -> None:
    trick(lambda h: h.answer(BODY[::-1]))
    refused(tmp_path, server, "sent a wrong file .its sha256")
    assert not (tmp_path / "file.bin.part").exists()


def test_a_server_that_lies_about_the_length_is_refused(tmp_path: Path, server: str) -> None:
    trick(lambda h: h.answer(BODY, length=len(BODY) - 7))
    refused(tmp_path, server, "has another file: 1048569 bytes in place of 1048576")


def test_a_length_far_above_the_estimate_is_refused(tmp_path: Path, server: str) -> None:
    trick(lambda h: h.answer(b"", length=10**12))
    refused(tmp_path, server, "far more", size=None)


def test_a_body_without_an_end_is_cut_off(tmp_path: Path, server: str) -> None:
    def endless(h: Hostile) -> None:
        h.answer(b"", length=None)
        try:
            while True:
                h.wfile.write(BODY)
        except OSError:
            pass

    trick(endless)
    refused(tmp_path, server, "sent more than", size=None)


def test_an_error_page_in_the_place_of_weights_is_seen(tmp_path: Path, server: str) -> None:
    page = b"<html>Please log in to the network of this hotel</html>" * 10
    trick(lambda h: h.answer(page))
    for name, words in (("w.safetensors", "no safetensors"), ("config.json", "no JSON")):
        with pytest.raises(DownloadFailed, match=words):
            fetch(wanted(tmp_path, f"{server}/bad", name=name, size=None, sha256=None, limit=10**4), quiet)
    trick(lambda h: h.answer(weights()[:-1]))
    with pytest.raises(DownloadFailed, match="header speaks of"):
        fetch(wanted(tmp_path, f"{server}/bad", name="w.safetensors", size=None, sha256=None), quiet)
    trick(lambda h: h.answer(weights()))
    fetch(wanted(tmp_path, f"{server}/bad", name="w.safetensors", size=None, sha256=None), quiet)


def test_nobody_there_and_no_web_address_are_told(tmp_path: Path, server: str) -> None:
    with pytest.raises(DownloadFailed, match="127.0.0.1 did not answer"):
        fetch(wanted(tmp_path, "http://127.0.0.1:9/x"), quiet)
    with pytest.raises(DownloadFailed, match="no http or https"):
        fetch(wanted(tmp_path, "file:///etc/hostname"), quiet)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here is always full")
def test_a_disk_that_fills_up_is_told_at_once_and_no_server_is_blamed(tmp_path: Path, server: str) -> None:
    goal = wanted(tmp_path, f"{server}/good", f"{server}/good")
    goal.part.symlink_to("/dev/full")
    with pytest.raises(DownloadFailed, match=r"file\.bin\.part can't be written \(No space left on device\)") as caught:
        fetch(goal, quiet)
    assert "127.0.0.1" not in str(caught.value) and len(Hostile.asked) == 1


def test_a_full_disk_is_told_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match=r"GB free, .* GB are needed"):
        require_space(tmp_path / "not" / "yet", 10**15)
    require_space(tmp_path, 1)


def test_the_systems_proxy_is_used(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server)
    monkeypatch.setenv("no_proxy", "")
    Hostile.tricks["http://nowhere.invalid/x"] = Hostile.honest
    assert fetch(wanted(tmp_path, "http://nowhere.invalid/x"), quiet) == SUM
