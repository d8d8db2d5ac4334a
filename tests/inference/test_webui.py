"""What stands behind the page in the browser; the page itself: tests/slow."""

import socket
import struct
import sys
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from small_configs import plain_checkpoint

from soma.inference.prediction import Prediction
from soma.inference.webui.clips import open_clip, predict_clip
from soma.inference.webui.models import (
    Model,
    Site,
    find_media,
    load_models,
    note_of,
    open_image,
)
from soma.inference.webui.page import Shown, show
from soma.inference.webui.server import (
    allowed_hosts,
    check_address,
    import_gradio,
    is_of_this_machine,
)
from soma.inference.webui.views import (
    Look,
    boxes_html,
    caption_html,
    difference,
    legend,
    legend_html,
    percent,
    pixel_html,
    scale_html,
    surest,
)
from soma.io.files import InputError

CLASSES = ('road', 'sky', 'a<b')
PALETTE = np.array([(128, 64, 128), (70, 130, 180), (0, 0, 142)], np.uint8)


@pytest.fixture
def segmented():
    labels = np.array([[1, 1, 1, 1], [0, 0, 0, 2]], np.uint8)
    scores = np.linspace(0, 1, 8, dtype=np.float32).reshape(2, 4)
    image = np.full((2, 4, 3), 100, np.uint8)
    return Prediction(image, labels, scores, CLASSES, PALETTE, entropy=1 - scores)


@pytest.fixture
def found():
    boxes = np.array([[10, 10, 30, 40], [0, 0, 50, 50], [12, 5, 20, 50]], np.float32)
    scores = np.array([0.4, 0.9, 0.1], np.float32)
    image = np.zeros((50, 60, 3), np.uint8)
    return Prediction(image, np.array([2, 0, 2]), scores, CLASSES, PALETTE, boxes)


def other(prediction):
    labels = prediction.labels.copy()
    labels[1, :2] = 1
    return Prediction(prediction.image, labels, prediction.scores, CLASSES, PALETTE)


def entries_of(predictions):
    return legend([prediction.shares() for prediction in predictions], CLASSES, PALETTE)


def test_a_legend_has_the_shares_of_both_models_the_largest_first(segmented):
    pair = [segmented, other(segmented)]
    entries = entries_of(pair)
    assert [(e.name, e.shares) for e in entries] == [
        ('sky', (0.5, 0.75)),
        ('road', (0.375, 0.125)),
        ('a<b', (0.125, 0.125)),
    ]
    html = legend_html(entries, ['A', 'B'], False)
    assert 'rgb(70, 130, 180)' in html and '<b>75.0 %</b>' in html and 'a&lt;b' in html
    assert (
        html.count('<li>') == 4 and '<b>A</b><b>B</b>' in html and 'width:100.0%' in html
    )  # a bar is relative to the largest
    assert difference(pair) == 0.25 and difference([segmented]) is None
    assert '25.0 %' in caption_html('x', ['A', 'B'], 0.25)


def test_views(segmented):
    def draw(view, opacity=1):
        return Look(view, opacity, 0.3).draw(segmented)

    assert (draw('mask', 0.2) == PALETTE[segmented.labels]).all()
    assert (draw('overlay', 0) == 100).all()
    assert (draw('overlay', 0.5)[0, 0] == np.round(100 * 0.5 + PALETTE[1] * 0.5)).all()
    ends = [(68, 1, 84), (253, 231, 37)]  # of viridis
    assert [tuple(draw('confidence')[i, i * 3]) for i in (0, 1)] == ends
    assert [tuple(draw('entropy')[i, i * 3]) for i in (1, 0)] == ends
    assert 'rgb(68 1 84)' in scale_html('entropy') and scale_html('mask') == ''


def test_a_click_tells_class_and_confidence(segmented):
    html = pixel_html([segmented, other(segmented)], ['A', 'B'], 1, 1)
    assert 'pixel 1, 1' in html and 'A</em>road <b>71.4 %' in html and 'B</em>sky <b>71.4 %' in html
    assert pixel_html([segmented], ['A'], 4, 0) == ''


def test_boxes_are_left_out_by_score_and_listed(found):
    kept = surest(found, 0.3)
    assert kept.scores.tolist() == pytest.approx([0.9, 0.4]) and kept.labels.tolist() == [0, 2]
    assert [(e.name, e.shares) for e in entries_of([kept])] == [('road', (1,)), ('a<b', (1,))]
    rows = boxes_html([kept], ['A']).split('<tr>')[2:]
    assert [row.count('<td>') for row in rows] == [6, 6]
    cells = ('a&lt;b', '0.40', '10', '10', '20', '30')
    assert ''.join(f'<td>{cell}</td>' for cell in cells) in rows[1]
    assert 'road <b>90.0 %</b>, a&lt;b <b>40.0 %' in pixel_html([kept], ['A'], 15, 20)
    assert 'no box' in pixel_html([kept], ['A'], 59, 49)
    assert 'No box' in legend_html(entries_of([surest(found, 0.95)]), ['A'], True)
    drawn = Look('overlay', 0.5, 0.3).draw(kept)
    assert (drawn == kept.overlay(score_thr=0.3)).all() and (drawn != found.image).any()


@pytest.mark.parametrize(
    ('share', 'text'),
    [(0, '0.0 %'), (1e-4, '< 0.1 %'), (0.1234, '12.3 %'), (0.9999, '> 99.9 %'), (1, '100.0 %')],
)
def test_a_share_is_0_or_100_percent_only_if_it_is(share, text):
    assert percent(share) == text


@pytest.mark.parametrize(
    ('names', 'titles'),
    [
        (['soma_x_gta'], ['soma_x_gta']),
        (['soma_x_gta', 'frozen_x_gta'], ['soma', 'frozen']),
        (['soma_x_gta', 'soma_y-b_gta'], ['x', 'y-b']),
        (['soma', 'soma_x'], ['soma', 'soma_x']),
        (['a/iter_4', 'b/iter_4'], ['a/iter', 'b/iter']),
        (['same_x', 'same_x'], ['same_x', 'same_x']),
    ],
)
def test_two_models_are_called_by_what_differs(names, titles):
    assert Site([Model(name, '', None) for name in names]).titles == titles


def test_what_is_shown_can_be_downloaded(segmented, found, tmp_path):
    site = Site([Model('a/soma', '', None), Model('frozen', '', None)])
    shown = Shown('s/street.jpg', tmp_path, [segmented, other(segmented)])
    parts = show(site, shown, Look('overlay', 0.5, 0.3))
    names = ['street_a_soma.png', 'street_frozen.png']
    assert parts['labels'] == [str(tmp_path / name) for name in names]
    assert (np.asarray(Image.open(parts['labels'][0])) == segmented.labels).all()
    assert parts['picture'] == tuple(parts['views']) and '25.0 %' in parts['caption']
    half = np.asarray(Image.open(parts['views'][1]))
    assert (half == other(segmented).overlay(0.5)).all()
    assert show(site, shown, Look('overlay', 0, 0.3))['views'] == parts['views']
    assert (np.asarray(Image.open(parts['views'][1])) == 100).all()

    site, shown = Site([Model('a', '', None)]), Shown('x.png', tmp_path, [found])
    parts = show(site, shown, Look('mask', 0, 0.5))
    assert parts['picture'] == str(tmp_path / 'x_boxes.png') and parts['scale'] == ''
    assert 'x.png, 60 x 50' in parts['caption'] and '0.40' not in parts['boxes']
    assert (tmp_path / 'x.json').read_text().count('"file_name": "x.png"') == 3


def png_of(width, height):
    """The head of a PNG, without its pixels."""
    parts = [(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)), (b'IDAT', b'')]
    chunks = [(name, data, zlib.crc32(name + data)) for name, data in parts]
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(data)) + name + data + struct.pack('>I', code)
        for name, data, code in chunks
    )


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (png_of(9000, 9000), 'x.png has 9000 x 9000 pixels, at most 1 million may be opened'),
        (b'no image', 'x.png cannot be read as an image: is no image'),
        (png_of(90, 90), 'x.png cannot be read as an image: '),
        (png_of(60000, 60000), 'x.png cannot be read as an image: Image size'),  # Pillow refuses
    ],
)
def test_a_bad_image_is_named_in_one_line_without_its_folder(tmp_path, content, message):
    file = tmp_path / 'x.png'
    file.write_bytes(content)
    with pytest.raises(InputError) as info:
        open_image(file, 1_000_000)
    assert str(info.value).startswith(message) and str(tmp_path) not in str(info.value)
    assert '\n' not in str(info.value)


def test_an_image_at_the_limit_is_opened(tmp_path):
    Image.new('RGB', (30, 20), (1, 2, 3)).save(tmp_path / 'x.png')
    assert (open_image(tmp_path / 'x.png', 600) == (3, 2, 1)).all()
    with pytest.raises(InputError, match='30 x 20'):
        open_image(tmp_path / 'x.png', 599)


def test_nothing_outside_of_the_folder_can_be_chosen(tmp_path):
    folder, outside = tmp_path / 'images', tmp_path / 'secret.png'
    (folder / 'day').mkdir(parents=True)
    for file in (outside, folder / 'day/a.png'):
        Image.new('RGB', (4, 4)).save(file)
    (folder / 'link.png').symlink_to(outside)
    (folder / 'b.png').symlink_to('day/a.png')
    (tmp_path / 'alias').symlink_to(folder)
    assert list(find_media(tmp_path / 'alias')) == ['b.png', 'day/a.png']
    assert find_media(None) == {}
    for path in (outside, tmp_path / 'nothing'):
        with pytest.raises(InputError, match=f'{path.name} must be a folder'):
            find_media(path)


def test_models_have_names_notes_and_one_meaning(config_file, tiny_config, tmp_path):
    first, second = tmp_path / 'a/iter_4.pth', tmp_path / 'b/iter_4.pth'
    for file in (first, second):
        file.parent.mkdir()
        plain_checkpoint(tiny_config, file)
    models = load_models([(config_file, first), (config_file, second)], device='cpu')
    assert [model.name for model in models] == ['a/iter_4', 'b/iter_4']
    assert models[0].note == 'trained on gta' and not Site(models).detects
    few = tmp_path / 'few.py'
    tiny_config.model.decode_head.num_classes = 2
    tiny_config.test_dataloader.dataset = dict(
        tiny_config.train_dataloader.dataset, metainfo=dict(classes=['a', 'b'])
    )
    tiny_config.dump(few)
    third = plain_checkpoint(tiny_config, tmp_path / 'c.pth')
    with pytest.raises(InputError, match='tiny and few have other classes'):
        load_models([(config_file, first), (few, third)])
    assert note_of(tiny_config.__class__({})) == ''


def test_gradio_that_is_missing_and_a_port_in_use_are_said_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, 'gradio', None)
    with pytest.raises(InputError, match=r"pip install -e '\.\[web\]'"):
        import_gradio()
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(InputError, match=f'port {port} .*choose another'):
            check_address('127.0.0.1', port)
    check_address('127.0.0.1', port)
    for host, port in (('127.0.0.1', 99999), ('no.such.host.invalid', 80)):
        with pytest.raises(InputError, match='nothing can be served'):
            check_address(host, port)
    hosts = ('127.0.0.1', '::1', 'localhost', '0.0.0.0', 'my.machine')
    assert [is_of_this_machine(host) for host in hosts] == [True, True, True, False, False]
    assert [allowed_hosts(host) == ['*'] for host in hosts] == [False, False, False, True, True]


def test_of_a_video_the_first_seconds_are_shown(tmp_path):
    av = pytest.importorskip('av', reason='videos need PyAV')
    source, out = tmp_path / 'long.mp4', tmp_path / 'out/drawn.mp4'
    with av.open(source, 'w') as file:
        stream = file.add_stream('libx264', rate=20)
        stream.height, stream.width, stream.pix_fmt = 16, 32, 'yuv420p'
        for index in range(250):  # darker and darker
            frame = np.full((16, 32, 3), 250 - index, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, 'rgb24')))
        file.mux(stream.encode(None))

    def model(limit):
        """Bright pixels are sky, the others road."""

        def predict(image, confidence):
            labels = (image[..., 0] > limit).astype(np.uint8)
            return Prediction(image[..., ::-1], labels, labels / 1, CLASSES, PALETTE)

        return Model(str(limit), '', SimpleNamespace(predict=predict))

    site, done = Site([model(149.5), model(0)]), []
    clip = predict_clip(site, source, out, Look('mask', 1, 0.3), done.append)
    assert done[-1] == 1 and clip.text == 'long.mp4, 100 frames of 10.0 s'
    half, whole = clip.shares  # every other of 200 frames; 250 to 151 are bright
    assert half['sky'] == pytest.approx(0.5, abs=0.02) and whole['sky'] == 1
    assert clip.differ == pytest.approx(half['road'])
    with av.open(out) as file:
        frames = [frame.to_ndarray(format='rgb24') for frame in file.decode(video=0)]
        assert file.streams.video[0].codec_context.name == 'h264'
        assert float(file.duration / 1e6) == pytest.approx(10, abs=0.11)
    assert len(frames) == 100 and frames[0].shape == (16, 64, 3)
    assert np.abs(frames[-1][8, 8].astype(int) - PALETTE[0]).max() < 12
    assert np.abs(frames[-1][8, 56].astype(int) - PALETTE[1]).max() < 12
    with pytest.raises(InputError, match='32 x 16 pixels'):
        open_clip(source, 511)
    (tmp_path / 'bad.mp4').write_bytes(b'none')
    with pytest.raises(InputError, match=r'^bad\.mp4: cannot be read as a video'):
        open_clip(tmp_path / 'bad.mp4', 511)
    assert [path.name for path in out.parent.iterdir()] == ['drawn.mp4']
