"""SegFormer as it was published: its encoder, its head, and the names of its files."""

import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import nn

from soma.adapters import save_adapter
from soma.checkpoints import average_files, load_plain, merge_files, open_checkpoint
from soma.io.checkpoint_files import CheckpointError, read_state_dict, write_checkpoint
from soma.models.backbones.mit import SegFormerMiT
from soma.models.backbones.mit_names import from_segformer
from soma.models.build import build_backbone
from soma.models.heads.plain_segformer import PlainSegformerHead

WIDTHS, HEADS, SHRINK = (8, 16, 16, 16), (1, 2, 2, 2), (8, 4, 2, 1)


def published(seed, width=8):
    """A small SegFormer under the names of the public files, those that nothing uses included."""
    generator = torch.Generator().manual_seed(seed)
    state = {}

    def add(name, *shape, norm=False):
        state[f'{name}.weight'] = 0.3 * torch.randn(*shape, generator=generator) + norm
        state[f'{name}.bias'] = 0.3 * torch.randn(shape[0], generator=generator)

    before = 3
    for stage, (c, shrink) in enumerate(zip(WIDTHS, SHRINK, strict=True), 1):
        side = 7 if stage == 1 else 3
        add(f'backbone.patch_embed{stage}.proj', c, before, side, side)
        add(f'backbone.patch_embed{stage}.norm', c, norm=True)
        block = f'backbone.block{stage}.0'
        add(f'{block}.norm1', c, norm=True)
        add(f'{block}.attn.q', c, c)
        add(f'{block}.attn.kv', 2 * c, c)
        add(f'{block}.attn.proj', c, c)
        if shrink > 1:
            add(f'{block}.attn.sr', c, c, shrink, shrink)
            add(f'{block}.attn.norm', c, norm=True)
        add(f'{block}.norm2', c, norm=True)
        add(f'{block}.mlp.fc1', 4 * c, c)
        add(f'{block}.mlp.dwconv.dwconv', 4 * c, 1, 3, 3)
        add(f'{block}.mlp.fc2', c, 4 * c)
        add(f'backbone.norm{stage}', c, norm=True)
        before = c
    add('decode_head.conv_seg', 19, 12, 1, 1)  # of its parent class, which nothing uses
    for stage, c in enumerate(WIDTHS, 1):
        add(f'decode_head.linear_c{stage}.proj', width, c)
    fuse = 'decode_head.linear_fuse'
    state[f'{fuse}.conv.weight'] = torch.randn(width, 4 * width, 1, 1, generator=generator)
    add(f'{fuse}.bn', width, norm=True)
    state[f'{fuse}.bn.running_mean'] = torch.randn(width, generator=generator)
    state[f'{fuse}.bn.running_var'] = 0.5 + torch.rand(width, generator=generator)
    state[f'{fuse}.bn.num_batches_tracked'] = torch.tensor(seed)
    add('decode_head.linear_pred', 19, width, 1, 1)
    return state


def forward(state, image):
    """The published network, written down with functions: maps ``(1, c, h, w)``, and scores."""

    def get(name):
        return state[f'{name}.weight'], state[f'{name}.bias']

    def norm(name, x, eps):
        return F.layer_norm(x, x.shape[-1:], *get(name), eps)

    maps, x = [], image
    for stage, (count, shrink) in enumerate(zip(HEADS, SHRINK, strict=True), 1):
        embed, block = f'backbone.patch_embed{stage}', f'backbone.block{stage}.0'
        stride, pad = (4, 3) if stage == 1 else (2, 1)
        x = F.conv2d(x, *get(f'{embed}.proj'), stride=stride, padding=pad)
        h, w = x.shape[2:]
        x = norm(f'{embed}.norm', x.flatten(2).mT, 1e-5)
        y = norm(f'{block}.norm1', x, 1e-6)
        z = y
        if shrink > 1:
            z = F.conv2d(z.mT.unflatten(2, (h, w)), *get(f'{block}.attn.sr'), stride=shrink)
            z = norm(f'{block}.attn.norm', z.flatten(2).mT, 1e-5)
        q = F.linear(y, *get(f'{block}.attn.q')).unflatten(2, (count, -1)).transpose(1, 2)
        kv = F.linear(z, *get(f'{block}.attn.kv')).unflatten(2, (2, count, -1))
        k, v = kv.permute(2, 0, 3, 1, 4)
        weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
        x = x + F.linear((weights @ v).transpose(1, 2).flatten(2), *get(f'{block}.attn.proj'))
        y = F.linear(norm(f'{block}.norm2', x, 1e-6), *get(f'{block}.mlp.fc1'))
        deep = get(f'{block}.mlp.dwconv.dwconv')
        y = F.conv2d(y.mT.unflatten(2, (h, w)), *deep, padding=1, groups=y.shape[-1])
        x = x + F.linear(F.gelu(y.flatten(2).mT), *get(f'{block}.mlp.fc2'))
        x = norm(f'backbone.norm{stage}', x, 1e-6).mT.unflatten(2, (h, w))
        maps.append(x)
    parts = []
    for stage, features in enumerate(maps, 1):
        y = F.linear(features.movedim(1, 3), *get(f'decode_head.linear_c{stage}.proj'))
        y = F.interpolate(y.movedim(3, 1), maps[0].shape[2:], mode='bilinear')
        parts.insert(0, y)
    fuse = 'decode_head.linear_fuse'
    mean, var = state[f'{fuse}.bn.running_mean'], state[f'{fuse}.bn.running_var']
    y = F.conv2d(torch.cat(parts, 1), state[f'{fuse}.conv.weight'])
    y = F.batch_norm(y, mean, var, *get(f'{fuse}.bn')).relu()
    return maps, F.conv2d(y, *get('decode_head.linear_pred'))


class Segformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = SegFormerMiT(embed_dims=8, num_layers=[1] * 4, num_heads=HEADS)
        self.decode_head = PlainSegformerHead(
            channels=8,
            in_channels=WIDTHS,
            in_index=[0, 1, 2, 3],
            num_classes=19,
            norm_cfg=dict(type='BN'),
        )


def write(path, state):
    """As mmcv of the time wrote it."""
    classes = tuple(f'class {index}' for index in range(19))
    meta = dict(mmcv_version='1.2.7', CLASSES=classes, iter=40000)
    write_checkpoint({'meta': meta, 'state_dict': state, 'optimizer': {}}, path)
    return path


def test_a_public_checkpoint_predicts_as_the_published_network(tmp_path):
    state, model = published(0), Segformer()
    load_plain(model.eval(), write(tmp_path / 'segformer.b5.1024x1024.city.160k.pth', state))
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        maps, scores = forward(state, image)
        result = model.backbone(image)
        torch.testing.assert_close(tuple(result), tuple(maps), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(model.decode_head(result), scores, rtol=1e-5, atol=1e-4)


def test_encoder_files_are_pretrained_weights_under_both_names(tmp_path):
    state = published(1)
    encoder = {n[9:]: value for n, value in state.items() if n.startswith('backbone.')}
    classifier = {'head.weight': torch.ones(10, 16), 'head.bias': torch.ones(10)}
    files = [tmp_path / 'mit_b5.pth', tmp_path / 'mit_b5_of_mmseg.pth']
    write_checkpoint({**encoder, **classifier}, files[0])
    ours = from_segformer(encoder)
    write_checkpoint(ours, files[1])
    for file in files:
        backbone = dict(type='SegFormerMiT', embed_dims=8, num_layers=[1] * 4, num_heads=HEADS)
        init_cfg = dict(type='Pretrained', checkpoint=str(file))
        model = MODELS.build(dict(backbone, init_cfg=init_cfg))
        model.init_weights()
        result = model.state_dict()
        assert result.keys() == ours.keys()
        assert all(torch.equal(value, ours[name]) for name, value in result.items())
    adapter = dict(type='SoMA', rank=2, targets=r'layers\.3\.1\.\d+\.ffn\.layers\.[04]')
    inner = dict(backbone, init_cfg=dict(type='Pretrained', checkpoint=str(files[0])))
    adapted = dict(type='AdaptedBackbone', backbone=inner, adapter=adapter, split_cache=False)
    model = MODELS.build(adapted)
    model.init_weights()
    name = 'layers.3.1.0.ffn.layers.4.weight'
    assert torch.equal(model.state_dict()[name], ours[name])
    save_adapter(model, tmp_path / 'adapter.safetensors')
    merge_files(files[0], tmp_path / 'adapter.safetensors', tmp_path / 'merged.pth')
    merged = read_state_dict(tmp_path / 'merged.pth')
    assert torch.equal(merged[name], ours[name]) and merged.keys() == ours.keys()


def test_an_encoder_is_built_as_its_config_says(tmp_path):
    """With stochastic depth, whose shares mmseg reads from a tensor."""
    sizes = 'embed_dims=8, num_layers=[1, 1, 1, 1], num_heads=[1, 2, 2, 2], drop_path_rate=0.1'
    text = f"model = dict(backbone=dict(type='SegFormerMiT', {sizes}))"
    (tmp_path / 'mit.py').write_text(text)
    model, _ = build_backbone(tmp_path / 'mit.py')
    encoder = from_segformer({n: v for n, v in published(0).items() if n.startswith('backbone.')})
    assert model.state_dict().keys() == encoder.keys()


def test_checkpoints_of_revt_are_averaged(tmp_path):
    states = [published(seed) for seed in range(3)]
    files = [write(tmp_path / f'{seed}.pth', state) for seed, state in enumerate(states)]
    done = average_files(files, tmp_path / 'revt.pth', 'backbone.*')
    opened = open_checkpoint(tmp_path / 'revt.pth')
    assert opened.card.classes[18] == 'class 18' and opened.card.iteration == 40000
    result = opened.tensors
    first, *others = map(from_segformer, states)
    assert result.keys() == first.keys() and done.averaged == len(first) - 16
    for name, value in result.items():
        mean = sum(state[name].double() for state in (first, *others)) / 3
        expected = mean.float() if name.startswith('backbone.') else first[name]
        assert torch.equal(value, expected), name


def test_other_names_stay():
    model = Segformer().state_dict()
    assert from_segformer(model) is model
    swin = {'backbone.patch_embed1.proj.weight': torch.ones(1), 'norm1.weight': torch.ones(1)}
    assert from_segformer(swin) is swin
    for place in ('', 'backbone.'):
        for name in ('pos_embed1', 'cls_token'):
            pvt = {f'{place}{n}': torch.ones(2, 1) for n in ('block1.0.attn.kv.weight', name)}
            assert from_segformer(pvt) is pvt


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'backbone.block2.0.attn.q.weight': None}, r'block2\.0\.attn\.kv\.weight.*not the query'),
        ({'backbone.block1.0.attn.kv.bias': torch.ones(9)}, r'kv\.bias is \[9\], but its query'),
    ],
)
def test_damaged_files_are_refused(tmp_path, changes, message):
    state = {**published(0), **changes}
    state = {name: value for name, value in state.items() if value is not None}
    with pytest.raises(CheckpointError, match=rf'x\.pth.*{message}'):
        open_checkpoint(write(tmp_path / 'x.pth', state))
