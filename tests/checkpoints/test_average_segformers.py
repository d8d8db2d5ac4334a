"""Averages of SegFormers: what ReVT (arXiv 2308.13331) is made of."""

import pytest
import torch
from mmengine.registry import MODELS

from soma.adapters.low_rank import low_rank_delta
from soma.checkpoints import average_files, open_checkpoint
from soma.io.checkpoint_files import read_checkpoint, read_state_dict, write_checkpoint

MIT = dict(type='MixVisionTransformer', embed_dims=8, num_layers=[1] * 4, num_heads=[1, 2, 2, 2])


@pytest.fixture
def segformers(tiny_config, build_runner, tmp_path):
    """Train small SegFormers of different seeds; the paths of their checkpoints."""
    tiny_config.model.decode_head = dict(
        type='SegformerHead',
        in_channels=[8, 16, 16, 16],
        in_index=[0, 1, 2, 3],
        channels=8,
        num_classes=19,
        norm_cfg=dict(type='BN'),
        loss_decode=dict(type='CrossEntropyLoss'),
    )
    tiny_config.model.test_cfg = dict(mode='whole')
    tiny_config.train_cfg.val_interval = 9

    def train(backbone, count=3):
        tiny_config.model.backbone = backbone
        works = [tmp_path / f'work_{seed}' for seed in range(count)]
        for seed, work in enumerate(works):
            build_runner(tiny_config, {'randomness.seed': seed, 'work_dir': str(work)}).train()
        return [work / 'iter_4.pth' for work in works]

    return train


@pytest.mark.slow
@pytest.mark.parametrize('dtypes', [(), (torch.float64, torch.bfloat16)], ids=['same', 'other'])
def test_encoders_are_averaged_and_the_head_is_the_first(segformers, run_here, tmp_path, dtypes):
    """As ReVT does, which in its public script left tensors of other types out."""
    files, out = segformers(MIT), tmp_path / 'revt.pth'
    for file, dtype in zip(files[1:], dtypes, strict=False):
        content = read_checkpoint(file)
        content['state_dict'] = {
            name: value.to(dtype) if value.is_floating_point() else value
            for name, value in content['state_dict'].items()
        }
        write_checkpoint(content, file)
    arguments = ['--checkpoints', *files, '--weights-filter', 'backbone', '--cpu-only']
    run_here('model_reparameterization.py', out, *arguments)
    first, *others = (read_state_dict(file) for file in files)
    found = read_state_dict(out)
    assert list(found) == list(first)
    for name, value in found.items():
        assert value.dtype == first[name].dtype
        if name.startswith('backbone.'):
            values = torch.stack([state[name].double() for state in (first, *others)])
            assert torch.equal(value, values.mean(0).float()), name
        else:
            assert torch.equal(value, first[name]), name
    assert not torch.equal(*(s['decode_head.conv_seg.weight'].float() for s in (first, others[0])))


def test_whole_numbers_come_from_the_first(segformers, tmp_path):
    files = segformers(MIT, count=2)
    content = read_checkpoint(files[1])
    name = 'decode_head.fusion_conv.bn.num_batches_tracked'
    content['state_dict'][name] += 10
    write_checkpoint(content, files[1])
    average_files(files, tmp_path / 'out.pth')
    assert read_state_dict(tmp_path / 'out.pth')[name] == 4


def deltas(file):
    """The weight change of each adapted layer."""
    checkpoint = open_checkpoint(file)
    settings = checkpoint.card.settings
    layers = checkpoint.layers
    return {name: low_rank_delta(tensors, settings).double() for name, tensors in layers.items()}


@pytest.mark.slow
def test_adapters_on_a_segformer_are_averaged(segformers, run_here, tmp_path):
    base = MODELS.build(dict(MIT, type='mmseg.MixVisionTransformer'))
    write_checkpoint({'state_dict': base.state_dict()}, tmp_path / 'mit.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'mit.pth'))
    targets = r'layers\.[23]\.1\.\d+\.(ffn\.layers\.[04]|attn\.sr)'
    backbone = dict(
        type='AdaptedBackbone',
        backbone=dict(MIT, init_cfg=init_cfg),
        adapter=dict(type='SoMA', rank=2, targets=targets),
        split_cache=False,
    )
    files, out = segformers(backbone), tmp_path / 'revt.pth'
    # 2 of each file, and 2 that all start from
    arguments = ['--checkpoints', *files, '--weights-filter', 'backbone', '--rank', 8]
    run_here('model_reparameterization.py', out, *arguments)
    trained, found = [deltas(file) for file in files], deltas(out)
    assert len(found) == 5  # two of each block, and the keys of stage 3
    for layer, value in found.items():
        changes = torch.stack([change[layer] for change in trained])
        assert changes.std(0).max() > 1e-5  # the seeds differ
        torch.testing.assert_close(value, changes.mean(0), rtol=1e-3, atol=1e-7)
    first, state = read_state_dict(files[0]), read_state_dict(out)
    for name, value in state.items():
        if name.startswith('decode_head.'):
            assert torch.equal(value, first[name])
        elif name.removeprefix('backbone.') in base.state_dict() and not name.endswith('.bias'):
            assert torch.equal(value, base.state_dict()[name.removeprefix('backbone.')])
