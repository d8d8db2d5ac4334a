"""The lean Mask2Former head against mmseg's: the same outputs, losses and gradients."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from small_configs import SMALL

PYRAMID = (4, 2, 1, 0.5)
CLASSES = 5


def head_config(queries=8):
    """The decode head of the configs, small, as mmseg's own."""
    file = SMALL / 'small_mask2former.py'
    config = Config(dict(head=Config.fromfile(file).model.decode_head.to_dict()))
    narrow = dict(embed_dims=32, num_heads=2)
    feed = dict(ffn_cfg=dict(embed_dims=32, feedforward_channels=16))
    options = dict(
        in_channels=[12] * 4,
        feat_channels=32,
        out_channels=32,
        num_queries=queries,
        num_classes=CLASSES,
        pixel_decoder=dict(
            positional_encoding=dict(num_feats=16),
            encoder=dict(num_layers=2, layer_cfg=dict(self_attn_cfg=narrow, **feed)),
        ),
        positional_encoding=dict(num_feats=16),
        transformer_decoder=dict(
            num_layers=4,
            layer_cfg=dict(self_attn_cfg=narrow, cross_attn_cfg=narrow, **feed),
        ),
        loss_cls=dict(class_weight=[1.0, 2.0, 1.0, 0.5, 1.0, 0.1]),
        train_cfg=dict(num_points=200),
    )
    config.merge_from_dict(dict(head=options))
    return config.head


def make(queries=8):
    """mmseg's head and ours with the same parameters."""
    init_default_scope('mmseg')
    lean = head_config(queries)
    plain = copy.deepcopy(lean)
    plain.type, plain.pixel_decoder.type = 'Mask2FormerHead', 'mmdet.MSDeformAttnPixelDecoder'
    del plain.pixel_decoder['pyramid']
    plain, lean = MODELS.build(plain), MODELS.build(lean)
    plain.init_weights()
    for parameter in plain.parameters():  # no layer may be idle
        parameter.data += 0.05 * torch.randn_like(parameter)
    lean.load_state_dict(plain.state_dict())
    assert plain.state_dict().keys() == lean.state_dict().keys()
    return plain, lean


def features(num=2, size=(6, 8)):
    return [torch.randn(num, 12, *size) for _ in PYRAMID]


def resized(maps):
    pairs = zip(maps, PYRAMID, strict=True)
    return [F.interpolate(x, scale_factor=f, mode='bilinear') if f != 1 else x for x, f in pairs]


def samples(*label_maps):
    made = []
    for labels in label_maps:
        sample = SegDataSample(metainfo=dict(img_shape=(96, 128), pad_shape=(96, 128)))
        sample.gt_sem_seg = PixelData(data=labels[None])
        made.append(sample)
    return made


def labels_of(*classes):
    """A label map of blobs of these classes."""
    index = torch.randint(len(classes), (6, 8)).repeat_interleave(16, 0).repeat_interleave(16, 1)
    return torch.tensor(classes)[index]


@pytest.mark.parametrize('size', [(6, 8), (5, 7)])  # halved to 2 x 3 pixels
def test_forward_and_prediction_are_mmsegs(size):
    plain, lean = make()
    maps = features(size=size)
    metas = [dict(img_shape=(90, 130)), dict(img_shape=(90, 130))]
    plain.eval(), lean.eval()
    with torch.no_grad():
        for actual, expected in zip(lean(maps), plain(resized(maps), None), strict=True):
            for a, b in zip(actual, expected, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
        actual, expected = lean.predict(maps, metas, {}), plain.predict(resized(maps), metas, {})
    assert actual.shape == (2, CLASSES, 90, 130)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ('queries', 'classes'),
    [
        (8, [(0, 1, 2, 3, 4, 255), (1, 3)]),
        (8, [(255,), (2, 255)]),  # an image without a class
        (8, [(255,), (255,)]),
        (3, [(0, 1, 2, 3, 4), (1, 2)]),  # fewer queries than classes
    ],
)
def test_losses_and_gradients_are_mmsegs(same_points, queries, classes):
    plain, lean = make(queries)
    targets = samples(*(labels_of(*of_image) for of_image in classes))
    maps = features()
    ours_maps, theirs_maps = ([x.clone().requires_grad_() for x in maps] for _ in 'ab')
    actual = lean.loss(ours_maps, targets, {})
    expected = plain.loss(resized(theirs_maps), targets, {})
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value.sum(), rtol=1e-4, atol=1e-5)
    sum(actual.values()).backward()
    sum(expected.values()).backward()
    for (name, a), b in zip(lean.named_parameters(), plain.parameters(), strict=True):
        scale = b.grad.abs().max().item()
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-3 * scale + 1e-5, msg=name)
    for a, b in zip(ours_maps, theirs_maps, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-5)


def test_one_copy_to_the_cpu(monkeypatch):
    _, lean = make()
    copies = []
    cpu = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, 'cpu', lambda x: copies.append(x) or cpu(x))
    monkeypatch.setattr(torch.Tensor, 'item', lambda x: pytest.fail('waits for a value'))
    lean.loss(features(), samples(labels_of(0, 1), labels_of(2, 255)), {})
    assert len(copies) == 1


def test_losses_are_in_float32_under_autocast():
    _, lean = make()
    with torch.autocast('cpu', torch.bfloat16):
        losses = lean.loss(features(), samples(labels_of(0, 1), labels_of(2, 3)), {})
    assert {value.dtype for value in losses.values()} == {torch.float32}
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in lean.parameters())


def test_a_nan_reaches_the_losses():
    _, lean = make()
    maps = features()
    maps[0][0, 0, 0, 0] = torch.nan
    losses = lean.loss(maps, samples(labels_of(0, 1), labels_of(2, 3)), {})
    assert losses['loss_mask'].isnan()


def test_keeps_no_full_masks_of_unmatched_queries():
    _, lean = make(queries=300)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: kept.append(x.numel()) or x, lambda x: x
    ):
        lean.loss(features(), samples(labels_of(0), labels_of(1)), {})
    assert max(kept) < 300 * 24 * 32


@pytest.mark.parametrize(
    'options',
    [
        dict(loss_cls=dict(use_sigmoid=True)),
        dict(loss_cls=dict(ignore_index=255)),
        dict(loss_mask=dict(class_weight=[1.0])),
        dict(loss_mask=dict(reduction='sum')),
        dict(loss_dice=dict(naive_dice=False)),
        dict(loss_dice=dict(use_sigmoid=False)),
        dict(train_cfg=dict(assigner=dict(match_costs=[dict(type='mmdet.DiceCost')]))),
    ],
)
def test_other_losses_and_costs_are_refused(options):
    init_default_scope('mmseg')
    config = Config(dict(head=head_config().to_dict()))
    config.merge_from_dict(dict(head=options))
    config = config.head
    with pytest.raises(ValueError, match="take mmseg's Mask2FormerHead"):
        MODELS.build(config)


def test_labels_that_are_no_class_are_refused():
    _, lean = make()
    with pytest.raises(ValueError, match=r'neither a class .0 to 4. nor ignore_index .255.'):
        lean.loss(features(), samples(labels_of(0, 5), labels_of(1)), {})


def test_ignore_index_may_be_a_class(same_points):
    plain, lean = make()
    plain.ignore_index = lean.ignore_index = 0
    targets, maps = samples(labels_of(0, 1, 2), labels_of(0, 4)), features()
    expected = plain.loss(resized(maps), targets, {})
    for name, value in lean.loss(maps, targets, {}).items():
        torch.testing.assert_close(value, expected[name].sum(), rtol=1e-4, atol=1e-5)


def test_maps_that_are_resized_already_are_refused():
    _, lean = make()
    with pytest.raises(ValueError, match=r'pyramid=.1, 1, 1, 1.'):
        lean(resized(features()))


def test_as_many_factors_as_maps():
    init_default_scope('mmseg')
    config = head_config()
    config.pixel_decoder.pyramid = (2, 1)
    with pytest.raises(ValueError, match='2 pyramid factors for 4'):
        MODELS.build(config)
