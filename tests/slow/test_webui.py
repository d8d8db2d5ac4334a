"""The page of tools/webui.py in a browser: ``make test-slow``.

With ``SOMA_SCREENSHOTS=docs/images`` it also takes the pictures of the guide, of the models that
``make demo`` and ``make demo-det`` have trained.
"""

import os
import shutil
import socket
import sys
import urllib.error
import urllib.request
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image, ImageChops
from small_configs import plain_checkpoint

from soma.inference import Inferencer
from soma.inference.webui.models import Model, Site, find_media, load_models
from soma.inference.webui.server import serving
from soma.utils.config import REPOSITORY

pytestmark = pytest.mark.slow

pytest.importorskip('gradio', reason="the page needs gradio: pip install -e '.[web]'")
sync_api = pytest.importorskip('playwright.sync_api', reason='needs playwright: pip install it')
CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')
if CHROMIUM is None:
    pytest.skip('needs chromium: apt install chromium', allow_module_level=True)
TIMEOUT = 60_000  # milliseconds: a busy machine is slow, a broken page never gets there
PICTURES = os.environ.get('SOMA_SCREENSHOTS')


@pytest.fixture(scope='session')
def browser():
    with sync_api.sync_playwright() as playwright:
        # without a sandbox, which containers lack
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])


@pytest.fixture
def visit(browser, tmp_path):
    """Serve a page and open it; it may ask its own machine alone for anything."""
    open_pages, hosts = [], set()

    def start(site):
        with socket.create_server(('127.0.0.1', 0)) as server:
            port = server.getsockname()[1]
        context = serving(site, port=port)
        address = context.__enter__()
        page = browser.new_page(viewport=dict(width=1280, height=800), color_scheme='light')
        page.set_default_timeout(TIMEOUT)
        page.on('request', lambda request: hosts.add(urlsplit(request.url).hostname))
        page.on('websocket', lambda request: hosts.add(urlsplit(request.url).hostname))
        page.goto(address)
        page.wait_for_selector('#upload input[type=file]', state='attached')
        open_pages.append((page, context))
        return page

    yield start
    for index, (page, context) in enumerate(open_pages):
        page.screenshot(path=tmp_path / f'page_{index}.png')
        page.close()
        context.__exit__(None, None, None)
    assert hosts <= {'127.0.0.1', None}  # None is of data: and blob:


@pytest.fixture(scope='module')
def pair(make_tiny, tmp_path_factory):
    """Two segmentors with random weights."""
    folder, models = tmp_path_factory.mktemp('pair'), []
    for name in ('soma', 'frozen'):
        config = make_tiny(folder / name)
        file = plain_checkpoint(config, folder / f'{name}.pth')
        models.append(Model(name, 'trained on gta', Inferencer(config, file, 'cpu')))
    return models


def count_predictions(monkeypatch, inferencer):
    calls, predict = [], inferencer.predict

    def counted(*arguments, **options):
        calls.append(1)
        return predict(*arguments, **options)

    monkeypatch.setattr(inferencer, 'predict', counted)
    return calls


def upload(page, file):
    page.set_input_files('#upload input[type=file]', file)


def picture(page, index=0):
    """The picture that the page shows."""
    image = page.locator('#canvas img').nth(index)
    sync_api.expect(image).to_have_js_property('complete', True)
    with urllib.request.urlopen(image.get_attribute('src')) as answer:
        return np.asarray(Image.open(answer).convert('RGB')).astype(int)


def saved(page, text, index=0):
    with page.expect_download() as download:
        page.get_by_role('button', name=text).nth(index).click()
    return download.value


def click(page, x, y, size):
    box = page.locator('#canvas img').first.bounding_box()
    scale = min(box['width'] / size[0], box['height'] / size[1])
    left = box['x'] + (box['width'] - scale * size[0]) / 2
    top = box['y'] + (box['height'] - scale * size[1]) / 2
    page.mouse.click(left + (x + 0.5) * scale, top + (y + 0.5) * scale)
    page.wait_for_selector('.pixel')
    return page.locator('.pixel').inner_text().replace('\n', ' ')


def toast(page, text):
    """A message shows up; close it."""
    message = page.locator('.toast-body', has_text=text)
    message.wait_for()
    said = message.inner_text()
    message.locator('button').click()
    return said


def test_an_image(visit, pair, street_data):
    file = street_data / 'images/00000.png'
    expected = pair[0].inferencer.predict(file, confidence=True)
    page = visit(Site(pair[:1]))
    assert page.locator('h1').inner_text() == 'soma'
    assert 'trained on gta' in page.locator('header p').inner_text()
    upload(page, file)
    page.wait_for_selector('.legend li')
    assert (picture(page) == expected.overlay(0.6)).all()
    largest = max(expected.shares().items(), key=lambda share: share[1])
    first = page.locator('.legend li').first.inner_text().split('\n')
    assert first[0] == largest[0] and first[-1] == f'{100 * largest[1]:.1f} %'
    name, score = expected.classes[expected.labels[20, 60]], expected.scores[20, 60]
    said = click(page, 60, 20, (80, 48))
    assert 'pixel 60, 20' in said and f'{name} {100 * score:.1f} %' in said

    before = page.locator('#canvas img').get_attribute('src')
    page.get_by_label('number input for Opacity').fill('0.1')
    page.wait_for_function('s => document.querySelector("#canvas img").src != s', arg=before)
    assert (picture(page) == expected.overlay(0.1)).all()
    page.get_by_label('Entropy').click()
    page.wait_for_selector('.scale')
    download = saved(page, 'Picture')
    assert download.suggested_filename == '00000_entropy.png'
    download = saved(page, 'Mask')
    assert (np.asarray(Image.open(download.path())) == expected.labels).all()

    paint = 'getComputedStyle(document.querySelector("h1")).color'
    dark_on_light = page.evaluate(paint)
    page.get_by_title('light or dark').click()
    page.wait_for_function(f'{paint} != "{dark_on_light}"')
    # all of it is on the first screen
    assert page.evaluate('document.documentElement.scrollHeight') <= 800


def test_two_models(visit, pair, street_data, monkeypatch):
    file = street_data / 'images/00001.png'
    first, second = (model.inferencer.predict(file, confidence=True) for model in pair)
    calls = count_predictions(monkeypatch, pair[0].inferencer)
    page = visit(Site(pair, find_media(street_data / 'images')))
    page.get_by_label('Or one of the folder').click()
    page.get_by_role('option', name='00001.png').click()
    page.wait_for_selector('.caption')
    caption = page.locator('.caption').inner_text()
    share = 100 * (first.labels != second.labels).mean()
    assert 'soma' in caption and 'frozen' in caption and f'{share:.1f} %' in caption
    pictures = [picture(page, 0), picture(page, 1)]
    drawn = [prediction.overlay(0.6) for prediction in (first, second)]
    assert all(any((p == d).all() for p in pictures) for d in drawn)
    assert page.locator('.legend li').first.locator('b').all_inner_texts() == ['soma', 'frozen']
    said = click(page, 12, 40, (80, 48))
    assert 'pixel 12, 40' in said
    assert all(p.classes[p.labels[40, 12]] in said for p in (first, second))
    assert saved(page, 'Mask', 1).suggested_filename == '00001_frozen.png'
    assert calls == [1]  # choosing predicts once


def test_boxes(visit, tiny_detector, box_data, tmp_path, monkeypatch):
    file = box_data / 'day/VOC2007/JPEGImages/0.jpg'
    detector = Inferencer(tiny_detector, plain_checkpoint(tiny_detector, tmp_path / 'd.pth'), 'cpu')
    scores = np.sort(detector.predict(file).scores)
    calls = count_predictions(monkeypatch, detector)
    page = visit(Site([Model('detector', '', detector)]))
    upload(page, file)
    page.wait_for_selector('.caption')
    for place in (-3, 2):  # few boxes, then many
        limit = round(float(scores[place]) + 0.005, 2)
        count = int((scores >= limit).sum())
        page.get_by_label('number input for Lowest score').fill(str(limit))
        sync_api.expect(page.locator('.boxes tbody tr')).to_have_count(count)
        numbers = page.locator('.legend b').all_inner_texts()
        assert sum(map(int, numbers)) == count
    assert calls == [1]
    assert saved(page, 'Boxes').suggested_filename == '0.json'


def test_what_cannot_be_shown_is_said_and_the_server_lives_on(visit, pair, street_data, tmp_path):
    (tmp_path / 'bad.png').write_bytes(b'no image at all')
    (tmp_path / 'bad.mp4').write_bytes(b'no video at all')
    (tmp_path / 'heavy.png').write_bytes(b'0' * 1_500_000)
    Image.new('L', (100, 90)).save(tmp_path / 'large.png')
    site = Site(pair[:1], find_media(street_data / 'images'), max_pixels=8000, max_mb=1)
    page = visit(site)
    for name, text in {
        'bad.png': 'bad.png cannot be read as an image: is no image',
        'bad.mp4': 'bad.mp4: cannot be read as a video',
        'large.png': 'large.png has 100 x 90 pixels, at most 0.008 million may be opened',
        'heavy.png': 'maximum allowed size',
    }.items():
        upload(page, tmp_path / name)
        said = toast(page, text)
        assert 'Traceback' not in said and str(tmp_path) not in said and 'gradio' not in said
    upload(page, street_data / 'images/00000.png')
    page.wait_for_selector('.legend li')

    address = page.url.rstrip('/')
    for path in ('/etc/hostname', str(REPOSITORY / 'pyproject.toml'), str(tmp_path / 'bad.png')):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(f'{address}/gradio_api/file={path}')
        assert error.value.code in (403, 404)


def test_a_short_video(visit, pair, street_data, tmp_path):
    av = pytest.importorskip('av', reason='videos need PyAV')
    with av.open(tmp_path / 'street.mp4', 'w') as file:
        stream = file.add_stream('libx264', rate=4)
        stream.height, stream.width, stream.pix_fmt = 48, 80, 'yuv420p'
        for index in range(4):
            image = np.asarray(Image.open(street_data / f'images/{index:05d}.png').convert('RGB'))
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, 'rgb24')))
        file.mux(stream.encode(None))
    page = visit(Site(pair))
    upload(page, tmp_path / 'street.mp4')
    page.wait_for_selector('.legend li')
    page.wait_for_function('document.querySelector("#clip video")?.readyState >= 2')
    width, length = page.evaluate(
        '(video => [video.videoWidth, video.duration])(document.querySelector("#clip video"))'
    )
    assert width == 160 and length == pytest.approx(1, abs=0.05)  # two models side by side
    assert 'street.mp4, 4 frames of 1.0 s' in page.locator('.caption span').get_attribute('title')


def test_the_server_leaves_nothing_and_asks_nobody(pair, monkeypatch, tmp_path):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path / 'temporary'))
    for name in ('home', 'temporary'):
        (tmp_path / name).mkdir()
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    monkeypatch.chdir(tmp_path)
    hosts, listens = set(), [True]

    def listen(event, arguments):
        if listens and event == 'socket.connect' and isinstance(arguments[1], tuple):
            hosts.add(arguments[1][0])
        if listens and event == 'socket.getaddrinfo':
            hosts.add(arguments[0])

    sys.addaudithook(listen)  # which cannot be removed
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = server.getsockname()[1]
    with serving(Site(pair[:1]), port=port) as address:
        assert [path.name[:11] for path in (tmp_path / 'temporary').iterdir()] == ['soma_webui_']
        assert urllib.request.urlopen(address).status == 200
        for host, code in ((f'localhost:{port}', 200), (f'elsewhere.example:{port}', 400)):
            connection = HTTPConnection('127.0.0.1', port)
            connection.request('GET', '/config', headers=dict(Host=host))
            assert connection.getresponse().status == code
            connection.close()
    assert sorted(tmp_path.rglob('*')) == [tmp_path / 'home', tmp_path / 'temporary']
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address)
    listens.clear()
    assert '127.0.0.1' in hosts and hosts <= {'127.0.0.1', 'localhost'}


def width_of_boxes(detector, file):
    found = detector.predict(file)
    return (found.boxes[:, 2] - found.boxes[:, 0])[found.scores > 0.3].sum()


@pytest.mark.skipif(PICTURES is None, reason='only with SOMA_SCREENSHOTS=docs/images')
@pytest.mark.parametrize('kind', ['image', 'compare', 'detector'])
def test_pictures_of_the_guide(visit, kind):
    methods = dict(image=['soma'], compare=['frozen', 'soma'], detector=['soma'])[kind]
    configs = REPOSITORY / 'projects/toy_streets/configs'
    work, config = 'demo', '{}_dinov2-toy_semfpn_gta2all_256x256.py'
    weather = 'night' if kind == 'compare' else 'fog'
    images = REPOSITORY / 'data/toy/acdc/rgb_anon' / weather / 'val'
    if kind == 'detector':
        work, config = 'demo_det', '{}_dinov2-toy_dino_dc2all_512x256.py'
        images = REPOSITORY / 'data/toy_weather/diverseWeather/daytime_clear/VOC2007'
    files = []
    for method in methods:
        found = sorted((REPOSITORY / 'work_dirs' / work / method).glob('iter_*.pth'))
        assert found, f'{work}/{method} is not trained: make {work.replace("_", "-")}'
        files.append((configs / config.format(method), found[-1]))
    models, media = load_models(files, device='cpu'), find_media(images)
    name = next(iter(media))
    if kind == 'detector':  # the one of those to validate on with the largest boxes
        media = {name: file for name, file in media.items() if 'toyval' in name}
        name = max(media, key=lambda name: width_of_boxes(models[0].inferencer, media[name]))
    page = visit(Site(models, media))
    page.get_by_label('Or one of the folder').click()
    page.get_by_role('option', name=name).click()
    page.wait_for_selector('.legend li')
    width, height = Image.open(media[name]).size
    x, y = width // 3, height // 2
    if kind == 'detector':
        cells = page.locator('.boxes tbody tr').first.locator('td').all_inner_texts()
        left, top, *size = map(int, cells[2:])
        x, y = left + size[0] // 2, top + size[1] // 2
    click(page, x, y, (width, height))
    page.wait_for_timeout(1000)  # for what fades out
    file = Path(PICTURES) / f'webui_{kind}.png'
    page.screenshot(path=file)
    with Image.open(file) as shot:  # without what is white below
        shot = shot.convert('RGB')
    below = ImageChops.invert(shot).getbbox()[3]
    shot.crop((0, 0, shot.width, min(below + 24, shot.height))).save(file, optimize=True)
