"""The bases of models: three sizes of DINOv2, three heads."""

import re

import pytest
import timm
import torch
from mmengine.config import Config
from mmseg.structures import SegDataSample

from soma.io.public import named_weights
from soma.models.backbones.dinov2 import ARCHS
from soma.models.build import build_model
from soma.utils.config import REPOSITORY, load_config
from soma.utils.num_classes import write_num_classes

BASES = REPOSITORY / 'configs/_base_/models'
SIZES = dict(S='small', B='base', L='large')
OTHERS = sorted(p for p in BASES.glob('*.py') if not re.match('dinov2|r50|segformer', p.stem))


@pytest.mark.parametrize('head', ['mask2former', 'semfpn', 'linear'])
@pytest.mark.parametrize('size', SIZES)
def test_widths_are_those_of_the_backbone(size, head):
    path = BASES / f'dinov2-{size}_{head}.py'
    assert size == 'L' or len(path.read_text().splitlines()) < 15
    model = load_config(path).model
    backbone, arch = model.backbone, ARCHS[SIZES[size]]
    assert backbone.arch == SIZES[size]
    assert f'vit{size.lower()}14' in backbone.init_cfg.checkpoint or size == 'L'
    outputs = backbone.get('out_indices', [0] * 4)
    assert len(backbone.pyramid) == len(outputs) and outputs[-1] in (0, arch['depth'] - 1)
    widths = (model.get('neck') or model.decode_head).in_channels
    assert (widths if head != 'linear' else [widths]) == [arch['embed_dim']] * len(outputs)
    assert head != 'linear' or model.decode_head.channels == arch['embed_dim']


@pytest.mark.parametrize('path', OTHERS, ids=lambda path: path.stem)
def test_bases_of_other_families(path):
    """Normalisation and weights are those of the network."""
    model = load_config(path).model
    backbone, checkpoint = model.backbone, model.backbone.init_cfg.checkpoint
    name = checkpoint.removeprefix('timm/')
    about = timm.get_pretrained_cfg(backbone.model_name if name == checkpoint else name).to_dict()
    assert about['architecture'] == backbone.model_name
    if name == checkpoint:  # of the same size
        assert re.search('vit_?(.)', checkpoint)[1] == backbone.model_name.split('_')[1][0]
    assert named_weights(checkpoint).file
    for name in ('mean', 'std'):
        expected = [255 * value for value in about[name]]
        assert model.data_preprocessor[name] == pytest.approx(expected, abs=1e-3)
    patch = re.search(r'_patch(\d+)', backbone.model_name)
    assert backbone.get('patch_size', patch and int(patch[1])) == (patch and 16)


@pytest.mark.parametrize('head', ['semfpn', 'linear'])
def test_they_predict(head):
    config = Config.fromfile(BASES / f'dinov2-S_{head}.py')
    arch, backbone = dict(embed_dim=16, depth=4, num_heads=2), config.model.backbone
    backbone.update(arch=arch, img_size=32, init_cfg=None)
    config.num_classes = 3
    write_num_classes(config)
    if head == 'semfpn':
        config.model.neck.update(in_channels=[16] * 4)
        backbone.update(out_indices=(0, 1, 2, 3))
    else:
        backbone.update(out_indices=(3,))
        config.model.decode_head.update(in_channels=16, channels=16)
    model = build_model(config)
    image, sample = torch.randn(1, 3, 32, 48), SegDataSample()
    sample.set_metainfo(dict(img_shape=(32, 48), ori_shape=(32, 48)))
    maps = model.extract_feat(image)
    scores = model.decode_head(maps)
    if head == 'linear':  # a matrix for each patch, and nothing else
        layer = model.decode_head.conv_seg
        expected = torch.einsum('kc,nchw->nkhw', layer.weight[..., 0, 0], maps[0])
        torch.testing.assert_close(scores, expected + layer.bias[:, None, None])
        assert scores.shape == (1, 3, 2, 3)
        names = [name for name, _ in model.decode_head.named_parameters()]
        assert names == ['conv_seg.weight', 'conv_seg.bias']
    logits = model.inference(image, [sample.metainfo])
    assert logits.shape == (1, 3, 32, 48)
