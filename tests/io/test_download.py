"""Downloads from a server on this machine that cuts, forgets, changes and refuses."""

import hashlib
import re
import shutil
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from soma.io import download as module
from soma.io.download import download
from soma.io.files import InputError

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HTTP = ('http',)


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server.behaviour
        server.asked.append((self.headers.get('Range'), self.headers.get('If-Range')))
        if self.path == '/moved':
            self.send_response(302)
            self.send_header('Location', server.location)
            self.send_header('X-Linked-Etag', f'"{server.linked}"')
            return self.end_headers()
        if server.status:
            return self.send_error(server.status)
        server.go.wait(20)
        start, wanted = 0, re.fullmatch(r'bytes=(\d+)-', self.headers.get('Range', ''))
        known = not server.checks or self.headers.get('If-Range') == server.etag
        if wanted and server.ranges and known:
            start = int(wanted[1])
        if start and start >= len(server.content):
            self.send_response(416)
            self.send_header('Content-Range', f'bytes */{len(server.content)}')
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            end = len(server.content) - 1
            self.send_header('Content-Range', f'bytes {start}-{end}/{len(server.content)}')
        if server.etag:
            self.send_header('ETag', server.etag)
        rest = server.content[start:]
        self.send_header('Content-Length', str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: server.cuts.pop(0)] if server.cuts else rest)


@pytest.fixture
def server(monkeypatch):
    """What a server does: it sends ``content``, cut as ``cuts`` says, and notes what is asked."""
    monkeypatch.setattr(module, '_PAUSE', 0)
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    served = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=served.serve_forever, args=(0.02,), daemon=True).start()
    served.behaviour = SimpleNamespace(
        content=CONTENT, etag='"a"', ranges=True, checks=True, cuts=[], status=None, asked=[]
    )
    served.behaviour.go = threading.Event()
    served.behaviour.go.set()
    served.behaviour.url = f'http://127.0.0.1:{served.server_port}/file'
    yield served.behaviour
    served.shutdown()
    served.server_close()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def check_whole(path):
    assert path.read_bytes() == CONTENT
    assert path.with_name(f'{path.name}.sha256').read_text() == f'{SHA256}  {path.name}\n'
    assert names(path.parent) == [path.name, f'{path.name}.sha256']


def test_whole(server, tmp_path):
    path = tmp_path / 'new' / 'w.pth'
    download(server.url, path, SHA256[:8], HTTP)
    check_whole(path)
    if shutil.which('sha256sum'):
        subprocess.run(['sha256sum', '-c', 'w.pth.sha256'], cwd=path.parent, check=True)
    download(server.url, path, SHA256, HTTP)
    assert len(server.asked) == 1, 'it was there'


def test_a_cut_connection_goes_on_at_once(server, tmp_path):
    server.cuts = [4000, 1000]
    download(server.url, tmp_path / 'w.pth', SHA256, HTTP)
    check_whole(tmp_path / 'w.pth')
    assert server.asked == [(None, None), ('bytes=4000-', '"a"'), ('bytes=5000-', '"a"')]


def cut_off(server, path):
    """A first download that no attempt brings to its end; each brings 100 bytes."""
    server.cuts = [100] * 5
    with pytest.raises(InputError, match=r'broke off \(it ended after 500 of 10240.*500 bytes are'):
        download(server.url, path, '', HTTP)
    assert names(path.parent) == [f'{path.name}.part', f'{path.name}.part.etag']
    server.asked.clear()


def test_a_later_download_goes_on(server, tmp_path):
    path = tmp_path / 'w.pth'
    cut_off(server, path)
    download(server.url, path, SHA256, HTTP)
    check_whole(path)
    assert server.asked == [('bytes=500-', '"a"')]


@pytest.mark.parametrize(
    'change', [{'etag': '"b"'}, {'ranges': False}, {'etag': '"b"', 'checks': False}], ids=str
)
def test_what_cannot_go_on_starts_anew(server, tmp_path, change):
    path = tmp_path / 'w.pth'
    server.content = b'x' * len(CONTENT)
    cut_off(server, path)
    vars(server).update(content=CONTENT, **change)
    download(server.url, path, SHA256, HTTP)
    check_whole(path)
    assert server.asked == [('bytes=500-', '"a"'), (None, None)][: 1 + (not server.checks)]


@pytest.mark.parametrize('etag', [None, 'W/"a"'])
def test_a_server_that_does_not_tell_versions_apart(server, tmp_path, etag):
    server.etag, server.cuts = etag, [4000]
    download(server.url, tmp_path / 'w.pth', SHA256, HTTP)
    check_whole(tmp_path / 'w.pth')
    assert server.asked == [(None, None)] * 2


@pytest.mark.parametrize('content', [CONTENT, CONTENT + b'more'])
def test_killed_before_the_last_step(server, tmp_path, content):
    (tmp_path / 'w.pth.part').write_bytes(content)
    (tmp_path / 'w.pth.part.etag').write_text('"a"')
    download(server.url, tmp_path / 'w.pth', SHA256, HTTP)
    check_whole(tmp_path / 'w.pth')
    assert len(server.asked) == (1 if content == CONTENT else 2)


def test_another_file_is_removed(server, tmp_path):
    path, other = tmp_path / 'w.pth', 'b' * 64
    with pytest.raises(InputError, match=f'its sha256 is {SHA256}, not 01ec64; it was removed'):
        download(server.url, path, '01ec64', HTTP)
    assert names(tmp_path) == []
    path.with_name('w.pth.sha256').write_text(f'{other}  w.pth\n')  # of the first download
    with pytest.raises(InputError, match=f'not {other}'):
        download(server.url, path, '', HTTP)
    assert names(tmp_path) == ['w.pth.sha256']


def test_the_hub_tells_the_hash(server, tmp_path):
    server.location, server.linked = server.url, 'c' * 64
    address = server.url.replace('file', 'moved')
    with pytest.raises(InputError, match=f'not {"c" * 64}'):
        download(address, tmp_path / 'w.pth', '', HTTP)
    server.linked = SHA256
    download(address, tmp_path / 'w.pth', '', HTTP)
    check_whole(tmp_path / 'w.pth')


def test_only_https(server, tmp_path):
    with pytest.raises(InputError, match='/file is no address that starts with https://'):
        download(server.url, tmp_path / 'w.pth')
    server.location, server.linked = 'ftp://127.0.0.1/file', ''
    with pytest.raises(InputError, match=r'^ftp://127\.0\.0\.1/file is no address'):
        download(server.url.replace('file', 'moved'), tmp_path / 'w.pth', '', HTTP)
    assert names(tmp_path) == []


@pytest.mark.parametrize(('status', 'requests'), [(404, 1), (503, 5)])
def test_an_error_of_the_server(server, tmp_path, status, requests):
    server.status = status
    message = (
        f'{server.url} answers {status} .*: get it elsewhere and put it into {tmp_path} as w.pth'
    )
    with pytest.raises(InputError, match=message):
        download(server.url, tmp_path / 'w.pth', '', HTTP)
    assert len(server.asked) == requests and names(tmp_path) == []


def test_no_network(tmp_path):
    address = 'https://127.0.0.1:1/file'
    with pytest.raises(InputError) as caught:
        download(address, tmp_path / 'w.pth')
    assert str(caught.value) == (
        f'{address} cannot be reached ([Errno 111] Connection refused): get it elsewhere and put '
        f'it into {tmp_path} as w.pth'
    )
    assert names(tmp_path) == []


def test_no_room(server, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda folder: SimpleNamespace(free=10_000))
    with pytest.raises(InputError, match=f'needs 0 MB, {tmp_path} has 0 MB free: make room'):
        download(server.url, tmp_path / 'w.pth', '', HTTP)
    assert names(tmp_path) == []
    server.cuts, server.content = [], CONTENT[:9000]
    download(server.url, tmp_path / 'w.pth', '', HTTP)


def test_two_processes_at_once(server, tmp_path):
    server.go.clear()
    call = f'download({server.url!r}, "w.pth", "", ("http",))'
    program = [sys.executable, '-c', f'from soma.io.download import download; {call}']
    first = subprocess.Popen(program, cwd=tmp_path, stdout=subprocess.DEVNULL)
    while not server.asked:
        assert first.poll() is None
        time.sleep(0.01)
    second = subprocess.Popen(program, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    line = second.stderr.readline()
    server.go.set()
    assert line == 'another process writes w.pth.part: waiting for it\n'
    assert (first.wait(), second.wait(), second.stderr.read()) == (0, 0, '')
    check_whole(tmp_path / 'w.pth')
    assert len(server.asked) == 1
