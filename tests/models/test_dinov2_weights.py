import pytest
import torch
import torch.nn.functional as F
from dinov2_names import to_timm, to_transformers
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed

from soma.io.checkpoint_files import read_state_dict
from soma.models import DINOv2
from soma.models.backbones.dinov2_weights import convert_dinov2, public_names, resize_pos_embed
from soma.models.backbones.vit_layers import SwiGLU


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
    [((60, 64), 16, '60 x 64 pixels do not divide'), ((64, 64), 0, 'patches of 0')],
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
