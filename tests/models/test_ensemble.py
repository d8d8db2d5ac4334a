"""Several segmentors that predict together, against numpy."""

import copy
import json
import shutil

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from mmseg.structures import SegDataSample
from PIL import Image
from scipy.ndimage import map_coordinates
from scipy.special import log_softmax, softmax

from soma.io.checkpoint_files import read_checkpoint, write_checkpoint
from soma.io.files import InputError
from soma.models.segmentors import SegmentorEnsemble

COMBINE = {
    'add': lambda scores: softmax(scores, 1).mean(0),
    'mul': lambda scores: softmax(log_softmax(scores, 1).sum(0), 0),
    'logits': lambda scores: softmax(scores.mean(0), 0),
}


@pytest.fixture
def model(tiny_config):
    """The config of a plain model without pretrained weights."""
    init_default_scope('mmseg')
    tiny_config.model.backbone.update(adapter=None, init_cfg=None)
    return tiny_config.model


def samples(*sizes):
    return [SegDataSample(metainfo=dict(ori_shape=size, img_shape=(40, 48))) for size in sizes]


@pytest.fixture
def ensemble(model):
    """Build an ensemble of three that differ, and are sure."""

    def build(operation, mode):
        if mode == 'whole':
            model.test_cfg = dict(mode='whole')
        models = [copy.deepcopy(model) for _ in range(3)]
        config = dict(type='SegmentorEnsemble', models=models, operation=operation)
        ensemble = MODELS.build(config).eval()
        for member in ensemble.members:
            torch.nn.init.normal_(member.decode_head.conv_seg.weight, std=3)
        return ensemble

    return build


@pytest.mark.parametrize('operation', COMBINE)
@pytest.mark.parametrize('mode', ['whole', 'slide'])
def test_it_is_what_numpy_makes_of_its_models(ensemble, operation, mode):
    ensemble = ensemble(operation, mode)
    images, sizes = torch.randn(2, 3, 40, 48), [(40, 48), (50, 70)]
    with torch.no_grad():
        result = ensemble(images, samples(*sizes), mode='predict')
        single = [member(images, samples(*sizes), mode='predict') for member in ensemble.members]
    for index, size in enumerate(sizes):
        scores = np.stack([part[index].seg_logits.data.double().numpy() for part in single])
        expected = COMBINE[operation](scores)
        logits = result[index].seg_logits.data
        assert logits.shape == (19, *size)
        np.testing.assert_allclose(logits.double().softmax(0), expected, rtol=1e-4, atol=1e-6)
        labels = result[index].pred_sem_seg.data[0].numpy()
        best = np.take_along_axis(expected, labels[None], 0)[0]
        assert (best >= expected.max(0) - 1e-6).all()
        alone = scores.argmax(1)
        assert all((labels != other).any() for other in alone)  # none of the models decides alone


@pytest.mark.parametrize('mode', ['whole', 'slide'])
def test_the_product_of_revt_is_of_windows_before_resizing(ensemble, mode):
    ensemble = ensemble('mul-input', mode)
    images, size = torch.randn(1, 3, 40, 48), (80, 96)  # twice as large
    places = [(y, x) for y in (0, 8) for x in (0, 16)] if mode == 'slide' else [(0, 0)]
    side = slice(32) if mode == 'slide' else slice(None)
    total, count = np.zeros((19, 40, 48)), np.zeros((40, 48))
    with torch.no_grad():
        result = ensemble(images, samples(size), mode='predict')[0]
        ensemble.operation = 'mul'
        other = ensemble(images, samples(size), mode='predict')[0]
        for y, x in places:
            window = images[:, :, y:, x:][:, :, side, side]
            meta = [dict(img_shape=window.shape[2:], pad_shape=window.shape[2:])]
            parts = [member.encode_decode(window, meta)[0] for member in ensemble.members]
            product = softmax(torch.stack(parts).double().numpy(), 1).prod(0)
            total[:, y:, x:][:, side, side] += product
            count[y:, x:][side, side] += 1
    # half a pixel beside its neighbours, beyond the first and the last of them as there
    rows, columns = (np.clip(np.arange(2 * n) / 2 - 0.25, 0, n - 1) for n in (40, 48))
    points = np.stack(np.meshgrid(rows, columns, indexing='ij'))
    expected = np.stack([map_coordinates(part / count, points, order=1) for part in total])
    np.testing.assert_allclose(result.seg_logits.data, expected, rtol=1e-4, atol=1e-6)
    labels = result.pred_sem_seg.data[0].numpy()
    chosen = np.take_along_axis(expected, labels[None], 0)[0]
    assert (chosen >= expected.max(0) - 1e-6).all()
    assert (labels != other.pred_sem_seg.data[0].numpy()).any()


def test_what_cannot_be_an_ensemble_is_refused(model):
    with pytest.raises(InputError, match=r"operation must be one of .*got 'max'"):
        SegmentorEnsemble([model], 'max')
    with pytest.raises(NotImplementedError, match="no mode 'loss'"):
        SegmentorEnsemble([model])(torch.zeros(1, 3, 4, 4), mode='loss')
    model.decode_head.update(num_classes=2, out_channels=1, threshold=0.5)
    with pytest.raises(InputError, match='segmentors with softmaxes, not of WindowEncoderDecoder'):
        SegmentorEnsemble([model])
    few_shot = dict(type='PrototypeSegmentor', backbone=model.backbone)
    with pytest.raises(InputError, match='not of PrototypeSegmentor'):
        SegmentorEnsemble([few_shot])


@pytest.fixture
def adapters(tiny_config, build_runner, tmp_path):
    """Two training checkpoints of adapters, with different heads."""
    build_runner(tiny_config, {'work_dir': str(tmp_path / 'work')}).train()
    content = read_checkpoint(tmp_path / 'work/iter_4.pth')
    torch.nn.init.normal_(content['state_dict']['decode_head.conv_seg.weight'])
    write_checkpoint(content, tmp_path / 'other.pth')
    return [tmp_path / 'work/iter_4.pth', tmp_path / 'other.pth']


def scores_and_images(folder):
    (file,) = folder.glob('*/2*.json')
    scores = {name: value for name, value in json.loads(file.read_text()).items() if 'mIoU' in name}
    images = {path.relative_to(folder / 'out'): path for path in (folder / 'out').rglob('*.png')}
    return scores, {n: np.array(Image.open(p)) for n, p in images.items()}


@pytest.mark.slow
def test_a_model_twice_is_tested_as_without_an_ensemble(
    adapters, config_file, tta, run_here, tmp_path, no_charts
):
    def folder(name):
        return ['--work-dir', tmp_path / name, '--out', tmp_path / name / 'out']

    with config_file.open('a') as file:  # as most configs have it
        file.write("\ndata_preprocessor = model['data_preprocessor']\n")
        file.writelines(f'{name} = {value!r}\n' for name, value in tta.items())
    pair = [adapters[1], shutil.copy(adapters[1], tmp_path / 'again.pth')]
    run_here('test.py', config_file, adapters[1], *folder('alone'))
    expected = scores_and_images(tmp_path / 'alone')
    lines = {'add': ['--operation', 'add'], 'logits': ['--method', 'add']}
    for name, line in lines.items():
        run_here('test_ensemble.py', config_file, *pair, *line, *folder(name))
        scores, images = scores_and_images(tmp_path / name)
        assert scores == expected[0] and 'mean_mIoU' in scores
        assert images.keys() == expected[1].keys()
        assert all((image == expected[1][n]).all() for n, image in images.items())
    run_here('test.py', config_file, adapters[1], *folder('flips'), '--tta')
    line = [config_file, *pair, '--operation', 'mul', '--tta']
    run_here('test_ensemble.py', *line, *folder('flipped'))
    flips, flipped = (scores_and_images(tmp_path / name)[0] for name in ('flips', 'flipped'))
    assert flipped == flips != expected[0]
    report = [
        f'default_hooks.report.{option}' for option in ('type=DomainReportHook', 'page=False')
    ]
    line = [config_file, *adapters, '--cfg-options', *report]
    run_here('test_ensemble.py', *line, *folder('both'))
    (report,) = (tmp_path / 'both').glob('*/domains_test.json')
    tested = json.loads(report.read_text())['tested']
    assert tested['operation'] == 'add'
    assert tested['checkpoints'] == ', '.join(map(str, adapters))
    _, images = scores_and_images(tmp_path / 'both')
    assert any((image != expected[1][n]).any() for n, image in images.items())
