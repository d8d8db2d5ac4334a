from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from dinov2_names import to_timm, to_transformers
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed

from soma.adapters import BaseCard, Card
from soma.checkpoints import convert_dinov2_file
from soma.checkpoints.open import write_with_card
from soma.io.checkpoint_files import read_state_dict, write_checkpoint
from soma.io.files import CheckpointError
from soma.models import DINOv2
from soma.models.backbones.dinov2_names import public_names
from soma.models.backbones.dinov2_weights import convert_dinov2, read_pretrained, resize_pos_embed
from soma.models.backbones.vit_layers import SwiGLU

ARCH = dict(embed_dim=16, depth=4, num_heads=2)


def test_resizes_as_the_release_does(public_file):
    state = read_state_dict(public_file)
    converted = convert_dinov2(state, (64, 96), 16)
    kernel = F.interpolate(state['patch_embed.proj.weight'], (16, 16), mode='bicubic')
    assert torch.equal(converted['patch_embed.proj.weight'], kernel)
    grid = state['pos_embed'][:, 1:].view(1, 5, 5, 16).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, (4, 6), mode='bicubic').permute(0, 2, 3, 1).reshape(1, 24, 16)
    assert torch.equal(converted['pos_embed'], torch.cat([state['pos_embed'][:, :1], grid], 1))
    same = state.keys() - {'patch_embed.proj.weight', 'pos_embed'}
    assert all(converted[key] is state[key] for key in same)


def test_converting_twice_changes_nothing(public_file):
    once = convert_dinov2(read_state_dict(public_file), (64, 96), 16)
    twice = convert_dinov2(once, (64, 96), 16)
    assert all(twice[key] is once[key] for key in once)


@pytest.mark.parametrize('rename', [to_transformers, to_timm])
@pytest.mark.parametrize('options', [{}, {'registers': 4}, {'registers': 2, 'swiglu': True}])
def test_other_names_compute_the_same(rename, options):
    options = dict(options)
    mlp = {'mlp_layer': SwiGLU} if options.pop('swiglu', False) else {}
    arch = dict(embed_dim=24, depth=3, num_heads=2, init_values=0.5, **mlp)
    model = DINOv2(arch, img_size=32, patch_size=8, out_indices=[2], pyramid=[1], **options).eval()
    x = torch.randn(1, 3, 32, 32)
    before = model(x)[0]
    state = public_names(rename(model.state_dict()))
    assert state.keys() == model.state_dict().keys()
    model.load_state_dict(state)
    assert torch.equal(model(x)[0], before)


@pytest.mark.parametrize(
    ('size', 'patch', 'message'),
    [
        ((60, 64), 16, '60 x 64 pixels do not divide'),
        ((64, 64), 0, 'patch_size must be 1 to 1024, and whole, got 0'),
        ((64, -64), 8, r'img_size must be height and width in pixels, got \(64, -64\)'),
        ((2**20, 2**20), 16, '4294967296 patches of 16, more than 262144'),
        ((2**20, 2**20), 2**20, 'patch_size must be 1 to 1024, and whole, got 1048576'),
    ],
)
def test_sizes_that_do_not_divide_are_refused(public_file, size, patch, message):
    with pytest.raises(ValueError, match=message):
        convert_dinov2(read_state_dict(public_file), size, patch)


def test_other_weights_are_refused():
    with pytest.raises(ValueError, match='no DINOv2 weights'):
        convert_dinov2({'conv1.weight': torch.ones(1)}, (64, 64), 16)


def as_dinov2_does(pos_embed, grid):
    """DINOv2's ``interpolate_pos_encoding`` with its offset of 0.1, from a square grid."""
    side = round((pos_embed.shape[1] - 1) ** 0.5)
    patches = pos_embed[:, 1:].view(1, side, side, -1).permute(0, 3, 1, 2)
    scales = ((grid[0] + 0.1) / side, (grid[1] + 0.1) / side)
    patches = F.interpolate(patches, scale_factor=scales, mode='bicubic')
    assert patches.shape[2:] == grid
    patches = patches.permute(0, 2, 3, 1).reshape(1, grid[0] * grid[1], -1)
    return torch.cat([pos_embed[:, :1], patches], 1)


@pytest.mark.parametrize('grid', [(4, 6), (9, 7), (12, 3), (5, 20)])
def test_positions_exactly_or_as_dinov2_does(grid):
    pos_embed = torch.randn(1, 1 + 36, 16)
    exact = resize_pos_embed(pos_embed, grid, (6, 6))
    dinov2 = resize_pos_embed(pos_embed, grid, (6, 6), 'dinov2')
    timm = resample_abs_pos_embed(pos_embed, grid, (6, 6), antialias=False)
    assert torch.equal(exact, timm) and torch.equal(dinov2, as_dinov2_does(pos_embed, grid))
    assert torch.equal(exact[:, 0], pos_embed[:, 0]) and torch.equal(dinov2[:, 0], exact[:, 0])
    assert not torch.allclose(exact, dinov2, atol=0.01)


def test_the_grid_stays_where_it_has_the_size():
    pos_embed = torch.randn(1, 1 + 36, 4)
    for interp in ('exact', 'dinov2'):
        assert resize_pos_embed(pos_embed, (6, 6), interp=interp) is pos_embed
        # as many patches, but not square
        wide = resize_pos_embed(pos_embed, (4, 9), (6, 6), interp=interp)
        assert wide.shape == pos_embed.shape and not torch.allclose(wide, pos_embed, atol=0.1)


def test_any_grid_has_the_size_that_it_should():
    pos_embed = torch.zeros(1, 1 + 37 * 37, 1)
    for size in range(1, 151):
        shape = resize_pos_embed(pos_embed, (size, 151 - size or 1), interp='dinov2').shape
        assert shape == (1, 1 + size * (151 - size or 1), 1)


def square_as_if_it_were(grid):
    """Positions of 6 x 6 patches, each its place, and where they belong on another grid."""
    y, x = torch.meshgrid(*(torch.arange(6.0) + 0.5,) * 2, indexing='ij')
    places = torch.stack([y, x], dim=-1).flatten(0, 1) / 6
    y, x = ((torch.arange(size) + 0.5) / size for size in grid)
    expected = torch.stack(torch.meshgrid(y, x, indexing='ij'), dim=-1).flatten(0, 1)
    return torch.cat([torch.zeros(1, 2), places])[None], expected


def test_as_many_patches_are_not_the_same_grid():
    pos_embed, expected = square_as_if_it_were((4, 9))
    resized = resize_pos_embed(pos_embed, (4, 9), (6, 6))
    assert torch.allclose(resized[0, 1:], expected, atol=0.04)  # bicubic, at the border
    with pytest.raises(ValueError, match=r'may be of 6 x 6 patches or of 4 x 9, which the file'):
        resize_pos_embed(pos_embed, (4, 9))
    assert resize_pos_embed(pos_embed[:, :25], (4, 6)) is not None  # of no square: nothing else


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_a_converted_file_says_its_grid(public_file, tmp_path, suffix):
    """Also into as many patches, and back to them, whatever the order."""
    sizes = {'wide': (16, 64), 'square': (32, 32), 'tall': (64, 16), 'same': (64, 16)}
    source = public_file
    for name, size in sizes.items():
        converted = tmp_path / f'{name}{suffix}'
        convert_dinov2_file(source, converted, size, 8)
        tensors, grid = read_pretrained(converted)
        assert grid == (size[0] // 8, size[1] // 8) and tensors['pos_embed'].shape == (1, 17, 16)
        before, old = read_pretrained(source)
        expected = resize_pos_embed(before['pos_embed'], grid, old)
        assert torch.equal(tensors['pos_embed'], expected)
        assert torch.equal(expected, before['pos_embed']) == (name == 'same')
        init_cfg = dict(type='Pretrained', checkpoint=str(converted))
        options = dict(patch_size=8, out_indices=[3], pyramid=[1], init_cfg=init_cfg)
        for img_size in ((16, 64), (32, 32)):
            model = DINOv2(ARCH, img_size, **options)
            model.init_weights()
            new = (img_size[0] // 8, img_size[1] // 8)
            assert torch.equal(model.pos_embed, resize_pos_embed(expected, new, grid))
        source = converted
    base, card = BaseCard(img_size=(16, 64), patch_size=8), Card()
    whole = {f'backbone.{n}': v for n, v in tensors.items() if n != 'mask_token'}
    write_with_card(whole, replace(card, base=base), tmp_path / f'x{suffix}')
    assert read_pretrained(tmp_path / f'x{suffix}').grid == (2, 8)  # a training's
    write_with_card(whole, Card(merged=replace(card, base=base)), tmp_path / f'x{suffix}')
    assert read_pretrained(tmp_path / f'x{suffix}').grid == (2, 8)


def test_a_file_that_could_be_of_two_grids_is_refused(public_file, tmp_path):
    state = convert_dinov2(read_state_dict(public_file), (16, 64), 8)  # as an older version did
    write_checkpoint(state, tmp_path / 'old.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'old.pth'))
    options = dict(patch_size=8, out_indices=[3], pyramid=[1], init_cfg=init_cfg)
    message = (
        r'old\.pth: the position embedding may be of 4 x 4 patches or of 2 x 8, .* convert the'
    )
    for use in (
        DINOv2(ARCH, (16, 64), **options).init_weights,
        lambda: convert_dinov2_file(tmp_path / 'old.pth', tmp_path / 'x.pth', (16, 64), 8),
    ):
        with pytest.raises(CheckpointError, match=message):
            use()
    assert not (tmp_path / 'x.pth').exists()


def test_a_card_of_another_grid_is_refused(public_file, tmp_path):
    card = Card(base=BaseCard(prefix='', img_size=(32, 64), patch_size=8))
    write_with_card(read_state_dict(public_file), card, tmp_path / 'x.pth')
    message = r'x\.pth: the position embedding has 25 patches, not the 4 x 8 that its card says'
    with pytest.raises(CheckpointError, match=message):
        convert_dinov2_file(tmp_path / 'x.pth', tmp_path / 'y.pth', (32, 32), 8)


@pytest.mark.parametrize('part', ['key', 'value'])
def test_transformers_names_without_a_part_are_refused(part):
    names = [f'encoder.layer.0.attention.attention.{p}.weight' for p in ('query', 'key', 'value')]
    state = {'embeddings.position_embeddings': torch.ones(1, 5, 4)}
    state |= {name: torch.ones(4, 4) for name in names if part not in name}
    with pytest.raises(ValueError, match=r'attn\.q\..* one is missing or of another shape'):
        public_names(state)
    state |= {name: torch.ones(3, 4) for name in names if part in name}
    with pytest.raises(ValueError, match=r'attn\.q\..* one is missing or of another shape'):
        public_names(state)


def test_an_unknown_way_of_resizing_is_refused(public_file):
    with pytest.raises(ValueError, match=r"pos_embed_interp must be one of .* got 'bilinear'"):
        convert_dinov2(read_state_dict(public_file), (64, 96), 16, 'bilinear')


@pytest.mark.parametrize('interp', ['exact', 'dinov2'])
def test_the_tool(public_file, run_here, tmp_path, interp):
    source, target = tmp_path / 'in.safetensors', tmp_path / 'new' / 'out.pth'
    save_file(read_state_dict(public_file), source)
    options = ['--height', '48', '--width', '64', '--kernel', '8', '--pos-embed-interp', interp]
    run_here('convert_models/convert_dinov2.py', source, target, *options)
    converted = read_state_dict(target)
    expected = convert_dinov2(read_state_dict(public_file), (48, 64), 8, interp)
    assert torch.equal(converted['pos_embed'], expected['pos_embed'])
    assert converted['pos_embed'].shape == (1, 1 + 6 * 8, 16)
    assert converted['blocks.0.attn.qkv.weight'].shape == (48, 16)
