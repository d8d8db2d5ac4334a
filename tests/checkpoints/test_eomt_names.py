"""Public files of EoMT load under their names."""

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from timm_families import FAMILIES

from soma.checkpoints import load_plain
from soma.io.checkpoint_files import CheckpointError, write_checkpoint

NAME, ARGS = FAMILIES['DINOv2 registers']


def build():
    init_default_scope('mmseg')
    model_args = ARGS | dict(depth=6, patch_size=16, img_size=64)
    backbone = dict(type='TimmVisionTransformer', model_name=NAME, model_args=model_args)
    head = dict(type='EoMTHead', num_classes=4, num_queries=3, num_blocks=2)
    model = MODELS.build(dict(type='EoMT', backbone=backbone, decode_head=head))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model.eval()


def public(state):
    """As the authors' training writes it, with its buffers."""
    renamed = {
        'network.attn_mask_probs': torch.zeros(2),
        'network.encoder.pixel_mean': torch.zeros(1, 3, 1, 1),
        'network.encoder.pixel_std': torch.ones(1, 3, 1, 1),
        'criterion.empty_weight': torch.ones(5),
    }
    for name, value in state.items():
        part, _, rest = name.partition('.')
        renamed[f'network.{"encoder.backbone." if part == "backbone" else ""}{rest}'] = value
    assert {
        *('network.q.weight', 'network.class_head.bias', 'network.mask_head.4.weight'),
        *('network.upscale.1.conv1.weight', 'network.upscale.0.conv2.weight'),
        *('network.upscale.0.norm.bias', 'network.encoder.backbone.blocks.5.ls2.gamma'),
        *('network.encoder.backbone.reg_token', 'network.encoder.backbone.norm.weight'),
    } < renamed.keys()
    return renamed


def test_public_files_load(tmp_path):
    model, other = build(), build()
    write_checkpoint(public(model.state_dict()), tmp_path / 'pytorch_model.bin')
    card = load_plain(other, tmp_path / 'pytorch_model.bin')
    assert card.method is None
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('network.encoder.backbone.patch_embed.proj.weight', 'a backbone of timm'),
        ('network.class_head.bias', 'decode_head.class_head.bias'),
    ],
)
def test_other_files_are_refused(tmp_path, name, message):
    model = build()
    state = public(model.state_dict())
    del state[name]
    write_checkpoint(state, tmp_path / 'other.bin')
    with pytest.raises(CheckpointError, match=message):
        load_plain(model, tmp_path / 'other.bin')
