"""Rein in DINOv2, in other backbones of OpenMMLab, and in a segmentor."""

import copy

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from small_configs import SMALL, small_mask2former
from small_detectors import RESNET, write_resnet
from timm.models.vision_transformer import VisionTransformer

from soma.adapters import Rein, StageReins, adapter_names
from soma.io.checkpoint_files import CheckpointError, read_state_dict, write_checkpoint
from soma.models import DINOv2
from soma.utils.config import load_config

ARCH = dict(embed_dim=16, depth=4, num_heads=2)
REIN = dict(type='Rein', num_tokens=5, rank=2, query_dims=32)
SIZES = dict(arch=ARCH, img_size=32, patch_size=8, out_indices=[0, 1, 2, 3])
X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def dinov2(file=None, adapter=REIN, **options):
    pretrained = None if file is None else dict(type='Pretrained', checkpoint=str(file))
    model = DINOv2(**SIZES, adapter=adapter, init_cfg=pretrained, **options)
    model.init_weights()
    return model


def equal(actual, expected):
    return all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


def test_dinov2_at_step_zero_is_the_frozen_one(public_file):
    frozen = dinov2(public_file, None, frozen_blocks=4)
    model = dinov2(public_file, REIN | {'zero_init': True})
    assert isinstance(model, VisionTransformer) and isinstance(model.reins, Rein)
    assert equal(model(X), frozen(X))
    assert not equal(dinov2(public_file)(X), frozen(X))
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {n for n in model.state_dict() if n.startswith('reins.')}
    assert model.frozen_names() == set(frozen.state_dict())
    assert model.reins.patch_size == 8


def test_register_tokens_and_frozen_blocks(public_file):
    """The adapter starts behind what is frozen whole, and leaves all first tokens alone."""
    torch.manual_seed(3)
    model = dinov2(registers=2, frozen_blocks=1)
    assert model.reins.blocks == ('blocks.1', 'blocks.2', 'blocks.3')
    seen = []
    model.blocks[1].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    model.blocks[1].register_forward_hook(lambda module, args, out: seen.append(out))
    model(X)
    before, after = seen
    plain = copy.deepcopy(model.blocks[1])
    plain._forward_hooks.clear()
    plain = plain(before)
    assert torch.equal(after[:, :3], plain[:, :3])
    assert (after[:, 3:] != plain[:, 3:]).any(-1).all()


def test_recomputed_blocks_have_the_same_gradients(public_file):
    grads = []
    for with_cp in (False, True):
        torch.manual_seed(5)
        model = dinov2(public_file, REIN | {'link': True}, with_cp=with_cp)
        maps, queries = model.train()(X)
        (sum(x.square().mean() for x in maps) + queries.square().mean()).backward()
        grads.append([p.grad for p in model.reins.parameters()])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)


def test_base_in_half_precision(public_file):
    model = dinov2(public_file, base_dtype='bfloat16')
    assert model.blocks[0].attn.qkv.weight.dtype == torch.bfloat16
    assert {p.dtype for p in model.reins.parameters()} == {torch.float32}
    maps, full = model(X), dinov2(public_file, REIN | {'zero_init': True})(X)
    sum(x.square().mean() for x in maps).backward()
    assert all(p.grad is not None for p in model.reins.parameters())
    for actual, expected in zip(maps, full, strict=True):
        assert actual.dtype == torch.float32
        torch.testing.assert_close(actual, expected, rtol=0.1, atol=0.3)


def test_a_resnet_with_its_pretrained_weights(tmp_path):
    write_resnet(tmp_path / 'resnet.pth')
    pretrained = dict(type='Pretrained', checkpoint=str(tmp_path / 'resnet.pth'))
    inner = dict(RESNET, init_cfg=pretrained)
    adapter = REIN | {'targets': r'layer[234]\.\d+', 'zero_init': True}
    model = MODELS.build(dict(type='AdaptedBackbone', backbone=inner, adapter=adapter))
    model.init_weights()
    state = read_state_dict(tmp_path / 'resnet.pth')
    loaded = model.state_dict()
    assert all(torch.equal(loaded[n], v) for n, v in state.items() if not n.startswith('fc.'))
    assert isinstance(model.reins, StageReins) and list(model.reins) == ['0', '1', '2']
    plain = MODELS.build(inner)
    plain.init_weights()
    plain.eval()
    assert equal(model.train()(X), plain(X))
    assert model.frozen_names() == {n for n, _ in model.named_parameters()} - adapter_names(model)
    assert not any(n.startswith('reins.') for n in model.frozen_names())
    del state['layer3.0.conv1.weight']
    write_checkpoint(state, tmp_path / 'resnet.pth')
    model = MODELS.build(dict(type='AdaptedBackbone', backbone=inner, adapter=adapter))
    with pytest.raises(CheckpointError, match=r'missing.*layer3\.0\.conv1\.weight \(1\)'):
        model.init_weights()


def segmentor(link=True, head='ReinMask2FormerHead', kind='WindowEncoderDecoder', **options):
    """The small model with Rein, smaller, with windows of 32 pixels every 20."""
    init_default_scope('mmseg')
    config = load_config(SMALL / 'small_mask2former.py').model
    config.type, config.decode_head = kind, small_mask2former(head)
    adapter = None if link is None else REIN | {'link': link}
    config.backbone.update(SIZES, adapter=adapter, init_cfg=None)
    config.test_cfg.update(crop_size=(32, 32), stride=(20, 20), batch_windows=2)
    config.update(options)
    return MODELS.build(config)


@torch.no_grad()
def test_windows_share_the_queries():
    torch.manual_seed(1)
    model = segmentor().eval().double()
    plain = segmentor(kind='EncoderDecoder').eval().double()
    for parameter in model.parameters():  # fresh ones predict the same class everywhere
        parameter.add_(0.5 * torch.randn_like(parameter))
    plain.load_state_dict(model.state_dict())
    meta = dict(ori_shape=(48, 70), img_shape=(48, 70))
    image = torch.randn(2, 3, 48, 70, dtype=torch.double)
    result, expected = (
        m.predict(image, [SegDataSample(metainfo=meta) for _ in range(2)]) for m in (model, plain)
    )
    for lean, other in zip(result, expected, strict=True):
        scores = lean.seg_logits.data
        torch.testing.assert_close(scores, other.seg_logits.data, rtol=0, atol=1e-9)
        assert (scores.std((1, 2)) > 1e-3).any()
    model.backbone.reins.merge.bias.add_(1)
    assert not torch.allclose(model.predict(image)[0].seg_logits.data, result[0].seg_logits.data)


def test_queries_without_the_head_that_reads_them():
    message = 'are for ReinMask2FormerHead alone, not for a model with LeanMask2FormerHead'
    with pytest.raises(ValueError, match=message):
        segmentor(True, 'LeanMask2FormerHead')
    assert isinstance(segmentor(), EncoderDecoder)


@pytest.mark.parametrize('link', [False, None])
def test_the_head_without_queries(link):
    message = r"needs adapter=dict\(type='Rein', link=True, num_tokens=5, query_dims=32\)"
    with pytest.raises(ValueError, match=message):
        segmentor(link)
    model = segmentor(link, kind='EncoderDecoder')  # mmseg's notices it at the first image
    with pytest.raises(ValueError, match=f'{message}; it returns maps alone'):
        model(X, mode='tensor')


def test_nothing_else_reads_linked_maps():
    auxiliary = dict(
        type='FCNHead', in_channels=16, in_index=2, channels=8, num_classes=19, num_convs=1
    )
    with pytest.raises(ValueError, match='not for a model with auxiliary_head'):
        segmentor(auxiliary_head=auxiliary)
    assert segmentor(False, 'LeanMask2FormerHead', auxiliary_head=auxiliary).with_auxiliary_head
