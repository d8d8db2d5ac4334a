import copy

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from small_configs import SMALL

from soma.models.segmentors import WindowEncoderDecoder
from soma.utils.config import load_config

HEADS = ['semfpn', 'mask2former']


def build(head='semfpn', kind='WindowEncoderDecoder', **test_cfg):
    """The small model, smaller, with windows of 32 pixels every 20."""
    init_default_scope('mmseg')
    config = load_config(SMALL / f'small_{head}.py').model
    config.type = kind
    config.backbone.update(
        arch=dict(embed_dim=16, depth=6, num_heads=2), img_size=32, patch_size=8, init_cfg=None
    )
    (config.neck if head == 'semfpn' else config.decode_head).in_channels = [16] * 4
    if head == 'semfpn':
        config.backbone.pyramid = (4, 2, 1, 0.5)  # small windows leave nothing of a smaller map
        config.decode_head.feature_strides = [4, 8, 16, 32]
    config.test_cfg.update(dict(crop_size=(32, 32), stride=(20, 20)) | test_cfg)
    torch.manual_seed(1)
    # The masks of Mask2Former's attention have thresholds, which the noise of float32 may cross.
    model = MODELS.build(config).eval().double()
    with torch.no_grad():
        for parameter in model.parameters():  # fresh ones predict the same class everywhere
            parameter.add_(0.5 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope='module', params=HEADS)
def pair(request):
    """The same model as mmseg's segmentor and as ours."""
    plain, lean = build(request.param, 'EncoderDecoder'), build(request.param)
    lean.load_state_dict(plain.state_dict())
    return plain, lean


def samples(count, size, **changes):
    meta = dict(ori_shape=size, img_shape=size) | changes
    return [SegDataSample(metainfo=meta) for _ in range(count)]


@torch.inference_mode()
def compare(plain, lean, inputs, metas):
    """Predict with both; what the samples hold must be the same."""
    expected, result = (model.predict(inputs, copy.deepcopy(metas)) for model in (plain, lean))
    assert len(result) == len(expected) == len(inputs)
    for one, other in zip(expected, result, strict=True):
        assert one.keys() == other.keys()
        labels = other.pred_sem_seg.data
        assert labels.dtype == torch.int64 and torch.equal(labels, one.pred_sem_seg.data)
        assert len(labels.unique()) > 1
        torch.testing.assert_close(other.seg_logits.data, one.seg_logits.data, atol=1e-9, rtol=0)
    return result


def image(count, height, width):
    return torch.randn(count, 3, height, width, dtype=torch.float64)


@pytest.mark.parametrize(('count', 'batch_windows'), [(1, 1), (2, 2), (1, 3), (2, 3), (2, 100)])
@pytest.mark.parametrize('size', [(61, 75), (32, 52), (20, 90), (24, 16)])
def test_predictions_are_those_of_mmseg(pair, count, batch_windows, size):
    plain, lean = pair
    lean.test_cfg.batch_windows = batch_windows
    sizes = []
    hook = lean.backbone.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    compare(plain, lean, image(count, *size), samples(count, size))
    hook.remove()
    windows = count * {(61, 75): 3 * 4, (32, 52): 2, (20, 90): 4, (24, 16): 1}[size]
    assert sum(sizes) == windows and sizes[0] == min(windows, batch_windows)
    assert len(sizes) == -(-windows // batch_windows)


@pytest.mark.parametrize(
    'meta',
    [
        dict(padding_size=[3, 5, 1, 2]),
        dict(img_padding_size=[0, 7, 4, 0], flip=True, flip_direction='horizontal'),
        dict(flip=True, flip_direction='vertical'),
        dict(flip=False, flip_direction=None),
    ],
    ids=str,
)
def test_padding_and_flips_are_undone(pair, meta):
    inputs = image(2, 40, 50)
    mixed = samples(1, (40, 50), **meta) + samples(1, (40, 50), **meta, ori_shape=(23, 91))
    first, second = compare(*pair, inputs, mixed)
    assert first.pred_sem_seg.shape == (40, 50) and second.pred_sem_seg.shape == (23, 91)


def test_a_diagonal_flip_is_undone():
    model, logits = build(), image(1, 20, 30)
    meta = dict(flip=True, flip_direction='diagonal')
    (result,) = model.postprocess_result(logits, samples(1, (20, 30), **meta))
    assert torch.equal(result.seg_logits.data, logits[0].flip(1, 2))


@torch.inference_mode()
def test_the_padded_size_of_a_image_is_not_that_of_a_window():
    lean = build('mask2former')  # where mmseg's segmentor fails
    inputs = image(1, 40, 50)
    plain, padded, alone = (
        lean.predict(inputs, metas)[0].seg_logits.data
        for metas in (samples(1, (40, 50)), samples(1, (40, 50), pad_shape=(40, 50)), None)
    )
    assert plain.shape == (19, 40, 50)
    assert torch.equal(plain, padded) and torch.equal(plain, alone)


def test_without_samples():
    plain, lean = build(kind='EncoderDecoder'), build()
    compare(plain, lean, image(2, 40, 50), None)


def test_meta_information_of_the_caller_is_left_alone(pair):
    metas = [dict(ori_shape=(40, 50), img_shape=(40, 50), name=name) for name in 'ab']
    before = copy.deepcopy(metas)
    _, lean = pair
    seen = []
    lean.test_cfg.batch_windows = 5
    hook = lean.decode_head.predict
    lean.decode_head.predict = lambda x, batch, cfg: seen.append(batch) or hook(x, batch, cfg)
    lean.slide_inference(image(2, 40, 50), metas)
    del lean.decode_head.predict
    assert metas == before
    assert [[meta['name'] for meta in batch] for batch in seen] == [['a'] * 4 + ['b'], ['b'] * 3]
    assert all(meta['img_shape'] == (32, 32) for batch in seen for meta in batch)


def test_whole_images(pair):
    for model in pair:
        model.test_cfg.mode = 'whole'
    try:
        compare(*pair, image(2, 40, 56), samples(2, (40, 56)))
    finally:
        for model in pair:
            model.test_cfg.mode = 'slide'


def test_one_class_has_a_threshold():
    plain, lean = build(kind='EncoderDecoder'), build()
    for model in (plain, lean):
        model.decode_head.threshold = 0.3
    logits, metas = image(1, 20, 30), samples(1, (30, 20))
    logits = logits[:, :1]
    expected, result = (
        model.postprocess_result(logits, copy.deepcopy(metas))[0] for model in (plain, lean)
    )
    assert torch.equal(expected.pred_sem_seg.data, result.pred_sem_seg.data)
    assert 0 < result.pred_sem_seg.data.double().mean() < 1


@pytest.mark.parametrize('head', HEADS)
@torch.inference_mode()
def test_autocast(head):
    models = build(head, 'EncoderDecoder').float(), build(head, batch_windows=1).float()
    inputs, metas = image(1, 40, 50).float(), samples(1, (40, 50))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        expected, result = (
            model.predict(inputs, copy.deepcopy(metas))[0].seg_logits.data for model in models
        )
    assert result.dtype == expected.dtype == torch.float32
    torch.testing.assert_close(result, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('number', [0, -1, 2.5, '4', None, True])
def test_a_wrong_number_of_windows_is_named(number):
    wrong = pytest.raises(ValueError, match=r'test_cfg\.batch_windows .*got ' + repr(number))
    with wrong:
        build(batch_windows=number)
    model = build()
    model.test_cfg.batch_windows = number
    with wrong:
        model.predict(image(1, 40, 50))


def test_a_stride_that_leaves_gaps_is_named():
    with pytest.raises(ValueError, match=r'test_cfg\.stride \(20, 40\) leaves gaps'):
        build(stride=(20, 40)).predict(image(1, 40, 90))


def test_parameters_are_those_of_mmseg(pair):
    plain, lean = pair
    assert type(plain) is EncoderDecoder and type(lean) is WindowEncoderDecoder
    assert list(lean.state_dict()) == list(plain.state_dict())
