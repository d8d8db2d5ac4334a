"""What predict.py writes of images, videos and cameras."""

import csv
import json
import os
import signal
import weakref
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.datasets import CityscapesDataset
from PIL import Image

from soma.datasets.labels import TRAIN_TO_CITYSCAPES
from soma.inference.images import to_bgr
from soma.inference.outputs import KINDS, Look
from soma.inference.predict import Done, Pace, plan, predict
from soma.inference.prediction import Prediction
from soma.inference.sources import find_sources
from soma.inference.stream import Prepared, predict_each
from soma.io.files import InputError, WriteError
from soma.utils.jobs import interrupt_on_signals


class Bright:
    """Stands for an Inferencer: class 1 where an image is bright in red, else class 0."""

    detects = tta = amp = False
    base = None
    classes, palette = ('dark', 'red'), np.array([(0, 0, 255), (255, 255, 0)], np.uint8)

    def __init__(self, folder):
        self.checkpoint, self.calls = folder / 'model.pth', 0
        self.checkpoint.write_text('weights')
        self.config = Config(dict(model=dict(type='Bright'), test_pipeline=[dict(type='Load')]))

    def prepare(self, image):
        image = to_bgr(image)
        return Prepared(image, {'inputs': torch.from_numpy(image)})

    def run(self, batch, confidence=False):
        self.calls += 1
        return [self.of(np.ascontiguousarray(image[..., ::-1])) for image, *_ in batch]

    def of(self, image):
        labels = (image[..., 0] > 128).astype(np.uint8)
        scores = np.where(labels, 1.0, 0.6).astype(np.float32)
        return Prediction(image, labels, scores, self.classes, self.palette, None, 1 - scores)


class Boxes(Bright):
    detects = True

    def of(self, image):
        boxes = np.array([[1, 2, 11, 22], [0, 0, 5, 5]], np.float32)
        scores = np.array([0.9, 0.2], np.float32)
        return Prediction(image, np.array([1, 0]), scores, self.classes, self.palette, boxes)


@pytest.fixture
def images(tmp_path):
    """Images whose left 1, 2 or 3 tenths are red."""
    for index, name in enumerate(('a.png', 'b.jpg', 'sub/a.png'), 1):
        picture = np.zeros((20, 40, 3), np.uint8)
        picture[:, : 4 * index] = 255, 0, 0
        (tmp_path / 'images' / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(tmp_path / 'images' / name)
    return tmp_path / 'images'


def run(model, source, out, pace=None, **look):
    pace = pace or Pace()
    return predict(model, plan([str(source)], out, pace), out, Look(**look), pace)


def table(path):
    with path.open(newline='') as file:
        return list(csv.DictReader(file))


def written(out):
    return sorted(p.relative_to(out).as_posix() for p in out.rglob('*') if p.is_file())


def test_masks_overlays_and_shares_of_a_folder(images, tmp_path):
    out = tmp_path / 'out'
    done = run(Bright(tmp_path), images, out, opacity=1, pace=Pace(batch_size=2))
    names = ['a', 'b', 'sub/a']
    expected = [*(f'masks/{n}.png' for n in names), *(f'overlays/{n}.jpg' for n in names)]
    assert written(out) == [*expected, 'predict.json', 'summary.csv']
    assert (done.there, done.sources, done.images, done.failures) == (0, 3, 3, [])
    mask = np.asarray(Image.open(out / 'masks/sub/a.png'))
    assert mask.dtype == np.uint8 and (mask[:, :12] == 1).all() and not mask[:, 12:].any()
    overlay = np.asarray(Image.open(out / 'overlays/a.jpg')).astype(int)
    assert abs(overlay[5, 1] - (255, 255, 0)).max() < 40 and overlay[5, 30, 2] > 215
    rows = table(out / 'summary.csv')
    assert [row['file'] for row in rows] == [str(images / f'{n}') for n in ('a.png', 'b.jpg')] + [
        str(images / 'sub/a.png')
    ]
    assert [float(row['red']) for row in rows] == [0.1, 0.2, 0.3]
    assert rows[0] == {
        **{'file': str(images / 'a.png'), 'name': 'a', 'frames': '1', 'height': '20'},
        **{'width': '40', 'dark': '0.9', 'red': '0.1'},
    }


def test_what_is_there_whole_is_left_out(images, tmp_path):
    out, model = tmp_path / 'out', Bright(tmp_path)
    run(model, images, out)
    first = (out / 'summary.csv').read_text()
    model.calls = 0
    assert str(run(model, images, out)) == f'3 of 3 were there already, nothing to do: {out}'
    assert model.calls == 0
    (out / 'masks/b.png').unlink()
    with (out / 'summary.csv').open('a') as file:
        file.write(f'{images}/cut.png,cut,1')  # by a stop in the middle of a line
    done = run(model, images, out)
    assert (done.there, done.images, model.calls) == (2, 1, 1)
    assert str(done).startswith('2 of 3 were there already, 1 image in ')
    assert (out / 'summary.csv').read_text() == first and (out / 'masks/b.png').is_file()
    Image.new('RGB', (8, 8), 'red').save(images / 'a.png')  # changed since
    os.utime(images / 'a.png', (2e9, 2e9))
    assert run(model, images, out).images == 1
    assert table(out / 'summary.csv')[0]['red'] == '1'
    assert run(model, images, out, pace=Pace(overwrite=True)).images == 3


def test_other_settings_and_other_files_are_refused(images, tmp_path):
    out, model = tmp_path / 'out', Bright(tmp_path)
    run(model, images / 'a.png', out)
    with pytest.raises(InputError, match=r'made with opacity 0.6, this is 0.5: name another'):
        run(model, images, out, opacity=0.5)
    with pytest.raises(InputError, match=r'predicted of \S+images/a.png, in the place of'):
        run(model, images / 'sub', out)
    model.base = tmp_path / 'base.pth'
    model.base.write_text('pretrained')
    with pytest.raises(InputError, match=r'made with base None, this is \S+base.pth: name another'):
        run(model, images, out)
    model.base = None
    model.checkpoint.write_text('others')
    with pytest.raises(InputError, match=r'model.pth with another content: name another folder'):
        run(model, images, out)
    (tmp_path / 'mine/masks').mkdir(parents=True)
    with pytest.raises(InputError, match='mine/masks was not written by this script'):
        run(model, images, tmp_path / 'mine')


def test_an_image_that_fails_stops_no_other(images, tmp_path):
    class Picky(Bright):
        def of(self, image):
            if (image[0, 11] == (255, 0, 0)).all():
                raise ValueError('too red')
            return super().of(image)

    (images / 'b.jpg').write_text('no image')
    done = run(Picky(tmp_path), images, tmp_path / 'out', pace=Pace(batch_size=3))
    assert len(done.failures) == 2 and 'b.jpg cannot be read as an image' in done.failures[0]
    assert done.failures[1] == f'{images}/sub/a.png: too red'
    assert [row['name'] for row in table(tmp_path / 'out/summary.csv')] == ['a']


def test_a_file_that_cannot_be_written_stops_the_run(images, tmp_path):
    (tmp_path / 'out').mkdir()
    run(Bright(tmp_path), images / 'a.png', tmp_path / 'out')
    (tmp_path / 'out/masks/sub').write_text('in the way')
    with pytest.raises((WriteError, OSError), match='sub'):
        run(Bright(tmp_path), images, tmp_path / 'out')


def test_cityscapes_ids_are_for_the_19_classes(images, tmp_path):
    with pytest.raises(InputError, match="Cityscapes' 19 classes"):
        run(Bright(tmp_path), images, tmp_path / 'out', ids='cityscapes')
    model = Bright(tmp_path)
    model.classes = list(CityscapesDataset.METAINFO['classes'])
    run(model, images / 'a.png', tmp_path / 'ids', ids='cityscapes')
    mask = np.asarray(Image.open(tmp_path / 'ids/masks/a.png'))
    assert mask[0, 0] == TRAIN_TO_CITYSCAPES[1] == 8 and mask[0, -1] == 7


def test_confidence_is_written_on_request(images, tmp_path):
    run(Bright(tmp_path), images / 'a.png', tmp_path / 'out', kinds=('confidence', 'entropy'))
    sure, spread = (np.asarray(Image.open(tmp_path / f'out/{k}/a.png')) for k in KINDS[1:3])
    assert sure[0, 0] == 255 and sure[0, -1] == 153 and spread[0, 0] == 0 and spread[0, -1] == 102
    with pytest.raises(InputError, match='it has no boxes to save'):
        run(Bright(tmp_path), images, tmp_path / 'other', kinds=('boxes',))


def test_boxes_are_json_and_counts_are_of_sure_ones(images, tmp_path):
    run(Boxes(tmp_path), images, tmp_path / 'out')
    boxes = json.loads((tmp_path / 'out/boxes.json').read_text())
    assert [box['file_name'] for box in boxes[::2]] == ['a.png', 'b.jpg', 'sub/a.png']
    assert boxes[0]['bbox'] == [1, 2, 10, 20] and boxes[0]['category'] == 'red'
    assert boxes[0]['score'] == pytest.approx(0.9) and boxes[0]['image_id'] == 'a'
    assert boxes[-1]['image_id'] == 'sub/a'
    assert {(row['dark'], row['red']) for row in table(tmp_path / 'out/summary.csv')} == {
        ('0', '1')
    }
    # of what was predicted before, nothing is mixed in
    run(Boxes(tmp_path), images / 'a.png', tmp_path / 'out', Pace(overwrite=True))
    assert len(json.loads((tmp_path / 'out/boxes.json').read_text())) == 2
    with pytest.raises(InputError, match='the model finds boxes: it has no masks to save'):
        run(Boxes(tmp_path), images, tmp_path / 'other', kinds=('masks',))


def test_sources(images, tmp_path, monkeypatch):
    (tmp_path / 'far').mkdir()
    (tmp_path / 'far/c.webp').touch()
    (tmp_path / 'far/clip.MP4').touch()
    (images / 'linked').symlink_to(tmp_path / 'far')
    (images / 'circle').symlink_to(images)
    (images / 'notes.txt').touch()
    (images / '._a.png').touch()  # as macOS writes them

    def names(*words, left_out=()):
        sources = find_sources([str(word) for word in words], left_out)
        return [(source.name, source.kind[0]) for source in sources]

    whole = [('a', 'i'), ('b', 'i'), ('linked/c', 'i'), ('sub/a', 'i'), ('linked/clip', 'v')]
    assert names(images) == whole
    assert names(images, left_out=[images / 'sub', tmp_path / 'far']) == whole[:2]
    assert names(images / '*.png') == [('a', 'i')] == names(images / 'a.png')
    assert names(images / '**/a.png') == [('a', 'i'), ('sub/a', 'i')]
    both = [('far/c', 'i'), ('images/a', 'i'), ('far/clip', 'v'), ('camera0', 'c')]
    assert names(tmp_path / 'far', '0', images / 'a.png') == both
    monkeypatch.chdir(tmp_path)
    (tmp_path / '0').mkdir()
    for word, message in {
        '0': 'no image or video at 0',
        'nowhere.png': "there is no file or folder 'nowhere.png': name an image, a video",
        'nowhere/*.png': "no file fits 'nowhere/[*].png'",
        'images/notes.txt': r'no image or video at images/notes.txt \(looked for .png',
    }.items():
        with pytest.raises(InputError, match=message):
            find_sources([word])


def make_video(path, size=(32, 48), sound=None, times=None, rotation=0):
    """A video of 2 seconds, 25 frames in each, half of it red, and a tone of the same length."""
    with av.open(str(path), 'w') as file:
        codec = 'libvpx' if path.suffix == '.webm' else 'libx264'
        video = file.add_stream(codec, rate=25)
        (video.height, video.width), video.pix_fmt = size, 'yuv420p'
        video.time_base = video.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            video.set_display_rotation(rotation)
        audio = sound and file.add_stream(sound, rate=48000, layout='mono')
        for index in range(50):
            image = np.zeros((*size, 3), np.uint8)
            image[: size[0] // 2, :, 0] = 255
            frame = av.VideoFrame.from_ndarray(image, 'rgb24')
            frame.pts, frame.time_base = times(index) if times else 40 * index, Fraction(1, 1000)
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        for index in range(100 if sound else 0):
            frame = av.AudioFrame.from_ndarray(np.full((1, 960), 3000, np.int16), 's16', 'mono')
            frame.sample_rate, frame.pts, frame.time_base = 48000, 960 * index, Fraction(1, 48000)
            file.mux(audio.encode(frame))
        file.mux(audio.encode(None) if sound else [])
    return path


def facts(path):
    """Times of frames, length and format of a video, and kind, start and length of its sound."""
    with av.open(str(path)) as file:
        video = file.streams.video[0]
        frames = [
            (float(f.pts * f.time_base), f.to_ndarray(format='rgb24')) for f in file.decode(video)
        ]
        length = float(video.duration * video.time_base)
        assert video.codec_context.name == 'h264' and video.pix_fmt == 'yuv420p'
    with av.open(str(path)) as file:
        sound = (
            [(float(f.pts * f.time_base), f.samples) for f in file.decode(audio=0)]
            if file.streams.audio
            else []
        )
        kind = file.streams.audio[0].codec_context.name if sound else None
    seconds = sum(samples for _, samples in sound) / 48000
    return (
        [time for time, _ in frames],
        length,
        frames[0][1],
        (kind, sound and sound[0][0], seconds),
    )


def uneven(index):
    return 80 * (index // 2) + 20 * (index % 2)


@pytest.mark.parametrize(
    ('name', 'options', 'every'),
    [
        ('plain.mp4', dict(sound='aac'), 3),
        ('uneven.mkv', dict(sound='libopus', times=uneven), 1),
        ('odd.webm', dict(size=(33, 47)), 1),
    ],
)
def test_a_video_keeps_its_time_and_its_sound(tmp_path, name, options, every):
    path, out = make_video(tmp_path / name, **options), tmp_path / 'out'
    done = run(Bright(tmp_path), path, out, pace=Pace(every=every, batch_size=4), opacity=1)
    expected = [options.get('times', lambda i: 40 * i)(i) / 1000 for i in range(0, 50, every)]
    times, length, first, (kind, start, seconds) = facts(out / f'overlays/{path.stem}.mp4')
    assert times == pytest.approx(expected, abs=1e-3) and done.frames == len(expected)
    assert length == pytest.approx(1.98 if 'times' in options else 2, abs=0.021)
    assert kind == ('aac' if 'sound' in options else None)
    if kind:
        assert start == pytest.approx(0, abs=0.022) and seconds == pytest.approx(2, abs=0.03)
    assert first.shape == ((34, 48, 3) if name == 'odd.webm' else (32, 48, 3))
    # the colours of the classes come back from the file as they were
    assert abs(first[4, 4].astype(int) - (255, 255, 0)).max() < 12
    assert abs(first[-4, 4].astype(int) - (0, 0, 255)).max() < 12
    rows = table(out / f'frames/{path.stem}.csv')
    assert [int(row['frame']) for row in rows] == [*range(0, 50, every)]
    assert [float(row['seconds']) for row in rows] == pytest.approx(expected, abs=1e-3)
    (row,) = table(out / 'summary.csv')
    assert row['frames'] == str(len(expected)) and float(row['red']) == pytest.approx(0.5, abs=0.02)
    assert written(out)[-4:] == [
        f'frames/{path.stem}.csv',
        f'overlays/{path.stem}.mp4',
        'predict.json',
        'summary.csv',
    ]
    assert run(Bright(tmp_path), path, out, pace=Pace(every=every), opacity=1).there == 1


def test_a_phone_video_is_upright_and_can_be_cut_short(tmp_path):
    path, out = make_video(tmp_path / 'phone.mp4', sound='aac', rotation=-90), tmp_path / 'out'
    run(Bright(tmp_path), path, out, Pace(frames=10), kinds=('overlays', 'masks'))
    times, length, first, (_, _, seconds) = facts(out / 'overlays/phone.mp4')
    assert len(times) == 10 and length == pytest.approx(0.4, abs=0.01)
    assert seconds == pytest.approx(0.4, abs=0.05)
    assert first.shape == (48, 32, 3) and first[24, 28, 0] > first[24, 4, 0]  # its top is right
    done = run(Bright(tmp_path), path, out, Pace(frames=10), kinds=('confidence',))
    assert done.frames == 10 and (out / 'confidence/phone.mp4/000009.png').is_file()
    masks = sorted(path.name for path in (out / 'masks/phone.mp4').iterdir())
    assert masks == [f'{index:06d}.png' for index in range(10)]
    run(Bright(tmp_path), path, out, Pace(frames=2, overwrite=True), kinds=('masks',))
    assert len([*(out / 'masks/phone.mp4').iterdir()]) == 2


def test_a_video_that_cannot_be_read_stops_no_other(images, tmp_path, monkeypatch):
    (images / 'broken.mp4').write_bytes(b'none')
    done = run(Bright(tmp_path), images, tmp_path / 'out')
    assert done.sources == 3 and 'broken.mp4 cannot be read as a video: Invalid' in done.failures[0]
    monkeypatch.setitem(__import__('sys').modules, 'av', None)
    with pytest.raises(InputError, match='videos need PyAV: pip install "av>=15"'):
        plan([str(images)], tmp_path / 'out', Pace())


class FakeCamera:
    """Gives red frames; the user interrupts at the fourth."""

    def __init__(self, number):
        self.number, self.frames = number, 0

    def isOpened(self):
        return self.number == 0

    def read(self):
        self.frames += 1
        if self.frames == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return True, np.full((32, 32, 3), (0, 0, 255), np.uint8)

    def release(self):
        pass


def test_a_camera_runs_until_it_is_interrupted(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, 'VideoCapture', FakeCamera)
    done = run(Bright(tmp_path), '0', tmp_path / 'out')
    assert done.frames == 4 == len(facts(tmp_path / 'out/overlays/camera0.mp4')[0])
    assert run(Bright(tmp_path), '0', tmp_path / 'short', Pace(frames=2)).frames == 2
    with pytest.raises(InputError, match=r'frames/camera0.csv is there: name another folder, or'):
        run(Bright(tmp_path), '0', tmp_path / 'out')
    done = run(Bright(tmp_path), '1', tmp_path / 'none')
    assert done.failures == ['there is no camera 1, or it is in use']
    assert str(done) == f'nothing was predicted: {tmp_path / "none"}'


def test_what_was_done_in_words(tmp_path):
    assert str(Done(tmp_path, 0, 2, 1, 8, 18)) == (
        f'1 image and 8 frames in 18.0 s, 0.5 images and frames/s: {tmp_path}'
    )
    assert str(Done(tmp_path, 1, 1, 0, 8, 2)) == (
        f'1 of 2 were there already, 8 frames in 2.0 s, 4 frames/s: {tmp_path}'
    )


def test_an_interrupted_run_says_that_it_goes_on(images, tmp_path, monkeypatch):
    class Ended(Bright):
        def of(self, image):
            if image.shape == (32, 48, 3) and self.calls == 6:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().of(image)

    monkeypatch.setattr(signal, 'getsignal', lambda number: signal.SIG_DFL)
    before = [signal.signal(n, signal.SIG_DFL) for n in (signal.SIGTERM, signal.SIGHUP)]
    interrupt_on_signals()
    make_video(images / 'x.mp4')
    out = tmp_path / 'out'
    message = '3 of 4 are done, the same command goes on where it stopped'
    with pytest.raises(KeyboardInterrupt, match=message):
        run(Ended(tmp_path), images, out)
    for number, handler in zip((signal.SIGTERM, signal.SIGHUP), before, strict=True):
        signal.signal(number, handler)
    assert len(written(out)) == 8 and not [*out.rglob('.*')]
    done = run(Bright(tmp_path), images, out)
    assert (done.there, done.frames, done.failures) == (3, 50, [])
    overwrite = Pace(overwrite=True)
    with pytest.raises(
        KeyboardInterrupt, match=r'^0 of 4 are done, .* without --overwrite goes on'
    ):
        monkeypatch.setattr(Bright, 'run', lambda *_: signal.raise_signal(signal.SIGINT))
        run(Bright(tmp_path), images, out, overwrite)


def test_names_of_files_need_not_be_text(tmp_path):
    path = tmp_path / os.fsdecode(b'caf\xe9.png')
    Image.new('RGB', (8, 8)).save(path)
    for there in (0, 1):
        done = run(Bright(tmp_path), tmp_path, tmp_path / 'out')
        assert (done.there, done.images) == (there, 1 - there)


def test_large_images_go_through_the_model_in_small_batches(tmp_path):
    class Counts(Bright):
        sizes = ()

        def run(self, batch, confidence=False):
            self.sizes += (len(batch),)
            return [image for image, *_ in batch]

    model = Counts(tmp_path)
    small, large = np.zeros((8, 8, 3), np.uint8), np.zeros((2000, 3000, 3), np.uint8)
    assert len([*predict_each(model, [small] * 5 + [large] * 5, batch_size=4)]) == 10
    assert model.sizes == (4, 1, 2, 2, 1)


def test_few_images_are_in_memory_at_once(tmp_path):
    images, most = [], 0

    class Array(np.ndarray):
        """An array that is counted."""

    def frames():
        nonlocal most
        for _ in range(40):
            image = np.zeros((8, 8, 3), np.uint8).view(Array)
            images.append(weakref.ref(image))
            most = max(most, sum(reference() is not None for reference in images))
            yield image

    results = predict_each(Bright(tmp_path), frames(), batch_size=3, workers=2)
    assert sum(prediction.labels.shape == (8, 8) for prediction in results) == 40
    assert 3 <= most <= 14
