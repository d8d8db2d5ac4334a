import re
import shutil

import mmcv
import numpy as np
import pytest
import torch
from mmengine.registry import RUNNERS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image

from soma.adapters import SoMALayer
from soma.datasets import DomainVOCDataset
from soma.inference import Inferencer, list_images, visualize
from soma.inference.images import to_bgr
from soma.inference.inferencer import result_of
from soma.inference.prediction import Prediction
from soma.inference.stream import Prepared
from soma.io.checkpoint_files import CheckpointError, read_checkpoint, write_checkpoint
from soma.io.files import InputError


@pytest.fixture(scope='module')
def checkpoint(make_tiny, tmp_path_factory):
    config = make_tiny(tmp_path_factory.mktemp('inferencer') / 'work')
    # long enough to predict more than one class
    config.merge_from_dict({'train_cfg.max_iters': 16, 'param_scheduler': None})
    RUNNERS.build(config).train()
    return f'{config.work_dir}/iter_16.pth'


class Stripes:
    """Stands for an Inferencer: class 0 on the left, class 1 on the right."""

    meaning = ('left', 'right'), np.array([(255, 0, 0), (0, 0, 255)], np.uint8)

    def prepare(self, image):
        return Prepared(to_bgr(image), {'inputs': torch.zeros(3)})

    def run(self, batch, confidence=False):
        return [self.predict(image[..., ::-1]) for image, *_ in batch]

    def predict(self, image):
        labels = np.zeros(image.shape[:2], np.uint8)
        labels[:, image.shape[1] // 2 :] = 1
        return Prediction(image, labels, None, *self.meaning)


def test_predictions_equal_those_of_a_test(tiny_config, build_runner, checkpoint):
    tested = {}

    def remember(runner, outputs, **kwargs):
        tested.update({s.img_path: s.pred_sem_seg.data[0].numpy() for s in outputs})

    options = {'load_from': checkpoint}
    build_runner(tiny_config, options, after_test_iter=remember).test()
    before = tiny_config.to_dict()
    inferencer = Inferencer(tiny_config, checkpoint, 'cpu')
    assert tiny_config.to_dict() == before
    assert not any(isinstance(m, SoMALayer) for m in inferencer.model.modules())
    assert not inferencer.model.training
    assert len(inferencer.classes) == 19 and inferencer.palette.shape == (19, 3)
    assert len(tested) == 4
    for file, expected in tested.items():
        labels = inferencer(file)
        assert labels.dtype == np.uint8 and labels.shape == expected.shape == (48, 80)
        assert (labels == expected).mean() > 0.999  # merging rounds
        assert len(np.unique(labels)) > 1
        assert (inferencer(mmcv.imread(file)) == labels).all()


@pytest.mark.parametrize(
    'change',
    [
        lambda s: s.pop('backbone.blocks.2.attn.qkv.A'),
        lambda s: s.update(extra=torch.ones(1)),
        lambda s: s.update({'decode_head.conv_seg.bias': torch.ones(3)}),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(tiny_config, checkpoint, tmp_path, change):
    content = read_checkpoint(checkpoint)
    change(content['state_dict'])
    torch.save(content, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match=r'other\.pth'):
        Inferencer(tiny_config, str(tmp_path / 'other.pth'), 'cpu')


def test_images_are_found_in_subfolders(tmp_path):
    for name in ('b.PNG', 'sub/a.jpg', 'sub/deeper/c.webp', 'notes.txt', 'sub/d.json'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    result = list_images(tmp_path)
    assert [str(f.relative_to(tmp_path)) for f in result] == [
        'b.PNG',
        'sub/a.jpg',
        'sub/deeper/c.webp',
    ]
    assert list_images(tmp_path / 'b.PNG') == [tmp_path / 'b.PNG']
    for wrong in ('notes.txt', 'nowhere', 'nowhere.png'):
        with pytest.raises(FileNotFoundError, match=f'no image at .*{wrong}'):
            list_images(tmp_path / wrong)


def test_visualize_mirrors_the_folders(tmp_path):
    source, target = tmp_path / 'source', tmp_path / 'target'
    for name, colour in (('a.png', (10, 200, 30)), ('sub/b.jpg', (90, 90, 90))):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (60, 40), colour).save(source / name)
    written = visualize(Stripes(), source, target)
    assert written == [target / 'a.png', target / 'sub/b.png']
    assert sorted(p for p in target.rglob('*') if p.is_file()) == written
    sheet = np.asarray(Image.open(written[0]))
    (row,) = {tuple(r) for r in (sheet == (10, 200, 30)).all(-1)[:, :60][20:40].tolist()}
    assert all(row)  # the image in its own colours, not with red and blue exchanged
    red, blue = (colour * 0.6 + np.array((10, 200, 30)) * 0.4 for colour in Stripes.meaning[1])
    middle = sheet[30, -60:].astype(float)
    assert np.abs(middle[:30] - red).max() < 1 and np.abs(middle[30:] - blue).max() < 1
    assert visualize(Stripes(), source / 'sub' / 'b.jpg', target / 'one') == [
        target / 'one' / 'b.png'
    ]


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / 'x.png').write_text('no image')
    with pytest.raises(ValueError, match=r'x\.png cannot be read as an image'):
        visualize(Stripes(), tmp_path, tmp_path / 'out')


def test_the_classes_of_the_card(tiny_config, checkpoint, tmp_path):
    content = read_checkpoint(checkpoint)
    names = [f'c{index}' for index in range(19)]
    content['meta']['soma'] |= {'classes': names, 'palette': None}
    write_checkpoint(content, tmp_path / 'x.pth')
    inferencer = Inferencer(tiny_config, tmp_path / 'x.pth', 'cpu')
    assert inferencer.classes == names and inferencer.palette.shape == (19, 3)


def test_the_objects_of_a_test(tiny_detector, build_runner, box_data):
    options = {'default_hooks.checkpoint.interval': 2, 'train_cfg.val_interval': 3}
    build_runner(tiny_detector, options).train()
    checkpoint = f'{tiny_detector.work_dir}/iter_2.pth'
    tested = {}

    def remember(runner, outputs, **kwargs):
        tested.update({s.img_path: s.pred_instances.numpy() for s in outputs})

    build_runner(tiny_detector, {'load_from': checkpoint}, after_test_iter=remember).test()
    before = tiny_detector.to_dict()
    inferencer = Inferencer(tiny_detector, checkpoint, 'cpu')
    assert inferencer.classes[:3] == ['bus', 'bike', 'car'] and inferencer.palette.shape == (7, 3)
    assert not any(isinstance(m, SoMALayer) for m in inferencer.model.modules())
    assert len(tested) == 6
    for file, expected in tested.items():
        for image in (file, mmcv.imread(file)):
            result = inferencer(image)
            assert result.bboxes.shape == (30, 4) and isinstance(result.bboxes, np.ndarray)
            np.testing.assert_allclose(result.scores, expected.scores, atol=1e-4)
            # those of one score may change places
            np.testing.assert_allclose(result.bboxes.mean(0), expected.bboxes.mean(0), atol=0.1)
    assert tiny_detector.to_dict() == before


def test_the_classes_of_the_test_data(tiny_detector, build_runner, tmp_path):
    """Where the checkpoint does not know them."""
    model = build_runner(tiny_detector).model
    model.init_weights()
    write_checkpoint({'state_dict': model.state_dict()}, tmp_path / 'x.pth')
    inferencer = Inferencer(tiny_detector, tmp_path / 'x.pth', 'cpu')
    known = DomainVOCDataset.METAINFO
    assert inferencer.classes == known['classes']
    assert inferencer.palette.tolist() == [list(colour) for colour in known['palette']]
    names = tuple('abcdefg')
    for part in tiny_detector.test_dataloader.dataset.datasets:
        part.metainfo = dict(classes=names)
    assert Inferencer(tiny_detector, tmp_path / 'x.pth', 'cpu').classes == names


def test_visualize_draws_sure_boxes(tmp_path):
    class Boxes(Stripes):
        def predict(self, image):
            box = np.array([[10, 10, 40, 30]], np.float32)
            return Prediction(image, np.array([1]), np.array([0.4]), *self.meaning, box)

    Image.new('RGB', (60, 40), (10, 200, 30)).save(tmp_path / 'a.png')
    result = {}
    for limit in ('default', 0.41):
        options = {} if limit == 'default' else {'score_thr': limit}
        (file,) = visualize(Boxes(), tmp_path / 'a.png', tmp_path / str(limit), **options)
        sheet = np.asarray(Image.open(file))
        result[limit] = (sheet[:50, 66:] == (0, 0, 255)).all(-1).sum()
    assert result['default'] > 100 and result[0.41] == 0


def draw(source, target, *names):
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (60, 40), (10, 200, 30)).save(source / name)
    return [str(path.relative_to(target)) for path in visualize(Stripes(), source, target)]


def test_images_that_differ_in_their_suffix_have_drawings_of_their_own(tmp_path):
    names = ('a.jpg', 'a.png', 'b.jpg', 'sub/a.png')
    expected = ['a.jpg.png', 'a.png.png', 'b.png', 'sub/a.png']
    assert draw(tmp_path / 'source', tmp_path / 'out', *names) == expected
    assert len(list((tmp_path / 'out').rglob('*.png'))) == 4
    with pytest.raises(InputError, match=r'2 files would be written to a\.jpg: rename'):
        draw(tmp_path / 'source', tmp_path / 'out', 'a.jpg.bmp')


@pytest.mark.parametrize('target', ['pics', 'other/../pics', 'link'])
def test_no_image_is_written_over(tmp_path, target):
    Image.new('RGB', (60, 40)).save(tmp_path / 'pics.png')
    (tmp_path / 'pics').mkdir()
    (tmp_path / 'other').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path / 'pics')
    before = Image.new('RGB', (60, 40), (10, 200, 30))
    before.save(tmp_path / 'pics/a.png')
    before.save(tmp_path / 'pics/b.jpg')
    content = (tmp_path / 'pics/a.png').read_bytes()
    for source in ('pics', 'pics/a.png'):
        with pytest.raises(InputError, match=r'a\.png would be written over: choose'):
            visualize(Stripes(), tmp_path / source, tmp_path / target)
    assert (tmp_path / 'pics/a.png').read_bytes() == content
    assert sorted(path.name for path in (tmp_path / 'pics').iterdir()) == ['a.png', 'b.jpg']


def test_a_file_beside_the_image_is_not_written_over(tmp_path):
    Image.new('RGB', (60, 40)).save(tmp_path / 'a.jpg')
    Image.new('RGB', (60, 40), (10, 200, 30)).save(tmp_path / 'a.png')
    before = (tmp_path / 'a.png').read_bytes()
    with pytest.raises(InputError, match=r'a\.png would be written over: choose another folder'):
        visualize(Stripes(), tmp_path / 'a.jpg', tmp_path)
    assert (tmp_path / 'a.png').read_bytes() == before
    for _ in range(2):  # elsewhere, drawings are replaced
        assert draw(tmp_path / 'in', tmp_path / 'out', 'a.jpg') == ['a.png']


def test_what_was_drawn_below_the_images_is_not_drawn_again(tmp_path):
    for _ in range(2):
        assert draw(tmp_path, tmp_path / 'drawn', 'a.png', 'sub/b.png') == ['a.png', 'sub/b.png']


def test_images_that_cannot_be_read_do_not_stop_the_others(tmp_path, monkeypatch):
    source, out = tmp_path / 'source', tmp_path / 'out'
    draw(source, out, 'a.png', 'b.png', 'c.png', 'd.png', 'e.jpg', 'z.png')
    shutil.rmtree(out)
    (source / 'b.png').write_bytes(b'')
    (source / 'c.png').write_text('no image')
    Image.new('RGB', (100, 100)).save(source / 'd.png')
    (source / 'e.jpg').unlink()
    (source / 'e.jpg').mkdir()  # a folder is none of the images
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 60 * 40 + 1)
    with pytest.raises(InputError, match=r'^3 of 5 images are not drawn: ') as error:
        visualize(Stripes(), source, out)
    for name, reason in (('b', 'is empty'), ('c', 'is no image'), ('d', 'Image size .10000 pix')):
        assert re.search(rf'{name}\.png cannot be read as an image: {reason}', str(error.value))
    assert sorted(path.name for path in out.iterdir()) == ['a.png', 'z.png']


def test_an_image_of_one_row(tiny_config, checkpoint, tmp_path):
    """It is drawn if the network can, else named; the other is drawn in any case."""
    Image.new('RGB', (500, 1)).save(tmp_path / 'flat.png')
    Image.new('RGB', (60, 40)).save(tmp_path / 'whole.png')
    tiny_config.test_pipeline.insert(1, dict(type='Resize', scale=(64, 64), keep_ratio=True))
    inferencer = Inferencer(tiny_config, checkpoint, 'cpu')
    with pytest.raises(InputError, match=r'^1 of 2 images are not drawn: .*flat\.png: OpenCV'):
        visualize(inferencer, tmp_path, tmp_path / 'out')
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['whole.png']


class Refuses(Stripes):
    """Raises an error for the first image."""

    def __init__(self, error):
        self.errors = [error]

    def predict(self, image):
        if self.errors:
            raise self.errors.pop()
        return super().predict(image)


def test_an_image_that_the_model_cannot_take_does_not_stop_the_others(tmp_path):
    error = RuntimeError('sizes should be greater than 0')
    for name in ('a.png', 'b.png'):
        Image.new('RGB', (60, 40)).save(tmp_path / name)
    with pytest.raises(
        InputError, match=r'^1 of 2 images .*a\.png: sizes should be greater than 0$'
    ):
        visualize(Refuses(error), tmp_path, tmp_path / 'out')
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['b.png']


@pytest.mark.parametrize(
    'error',
    [
        RuntimeError('CUDA error: no kernel image'),
        RuntimeError('cuDNN error: CUDNN_STATUS_NOT_SUPPORTED'),
        torch.OutOfMemoryError('Tried to allocate'),
        NotImplementedError('a fault'),
    ],
)
def test_what_no_image_is_to_blame_for_is_raised(tmp_path, error):
    Image.new('RGB', (60, 40)).save(tmp_path / 'a.png')
    with pytest.raises(type(error), match=str(error)):
        visualize(Refuses(error), tmp_path, tmp_path / 'out')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['IMAGES', '--device', 'nonsense'], "error: 'nonsense' is no device: cpu, cuda:0"),
        (['IMAGES', '--device', 'cuda:99'], "error: there is no device 'cuda:99'"),
        (['nowhere'], 'error: no image at nowhere'),
        (['IMAGES', '--score-thr', '30'], r'error: score_thr must be from 0 to 1, got 30\.0'),
        (['IMAGES', '--out', 'IMAGES'], r'error: .*00000\.png would be written over'),
        (['IMAGES', '--out', 'tiny.py'], r'error: nothing can be written to the folder .*tiny\.py'),
    ],
)
def test_wrong_arguments_are_said_before_the_model_is_built(
    config_file, street_data, run_here, monkeypatch, arguments, message
):
    def built(*_):
        raise AssertionError('the model is built')

    monkeypatch.setattr('soma.inference.inferencer.build_model', built)
    known = {'IMAGES': street_data / 'images', 'tiny.py': config_file}
    arguments = [known.get(argument, argument) for argument in arguments]
    with pytest.raises(SystemExit, match=message):
        run_here('visualize.py', config_file, 'x.pth', *arguments)


def test_the_pipeline_of_the_test_data(tiny_config, checkpoint, street_data):
    image = str(street_data / 'images/00000.png')
    expected = Inferencer(tiny_config, checkpoint, 'cpu')(image)
    tiny_config.pop('test_pipeline')
    assert (Inferencer(tiny_config, checkpoint, 'cpu')(image) == expected).all()
    whole = tiny_config.test_dataloader.dataset
    tiny_config.test_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=whole)
    assert (Inferencer(tiny_config, checkpoint, 'cpu')(image) == expected).all()
    tiny_config.test_dataloader = None
    with pytest.raises(
        InputError, match=r'^the config has no test_pipeline, nor a test_dataloader'
    ):
        Inferencer(tiny_config, checkpoint, 'cpu')


def test_classes_that_are_nowhere(tiny_config, build_runner, tmp_path):
    state = build_runner(tiny_config).model.state_dict()
    write_checkpoint({'state_dict': state}, tmp_path / 'x.pth')
    tiny_config.pop('test_dataloader')
    with pytest.raises(InputError, match=r'^neither the checkpoint nor a test_dataloader'):
        Inferencer(tiny_config, tmp_path / 'x.pth', 'cpu')


def test_more_classes_than_eight_bits_hold():
    sample = SegDataSample()
    for largest, dtype in ((255, np.uint8), (299, np.uint16)):
        sample.pred_sem_seg = PixelData(data=torch.tensor([[[0, largest]]]))
        labels = result_of(sample)
        assert labels.tolist() == [[0, largest]] and labels.dtype == dtype
        del sample.pred_sem_seg
