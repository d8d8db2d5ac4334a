"""The toy foundation model: shipped, pretrained, written."""

from pathlib import Path

import pytest
import torch

from soma.io.checkpoint_files import read_state_dict
from soma.utils.config import REPOSITORY
from toy_streets.foundation import pretrain_toy

PRETRAINED = Path(__file__).parents[1] / 'dinov2_toy14_pretrain.safetensors'


def test_toy_foundation_model_has_the_public_layout(toy):
    state = read_state_dict(toy / 'checkpoints' / 'pretrained.pth')
    assert state['patch_embed.proj.weight'].shape == (64, 3, 14, 14)
    assert state['pos_embed'].shape == (1, 1 + 16 * 16, 64)
    assert {'mask_token', 'cls_token', 'norm.weight', 'blocks.5.ls2.gamma'} <= state.keys()


def test_shipped_foundation_model_is_what_the_script_would_write(toy):
    """A small file with the names, shapes and types of a pretrained one, and no fresh weights."""
    assert PRETRAINED.stat().st_size < 2e6
    shipped = read_state_dict(PRETRAINED)
    fresh = read_state_dict(toy / 'checkpoints' / 'pretrained.pth')
    assert {n: (v.shape, v.dtype) for n, v in shipped.items()} == {
        n: (v.shape, v.dtype) for n, v in fresh.items()
    }
    gamma = shipped['blocks.5.ls2.gamma']
    assert gamma.std() > 0.05 and all(value.isfinite().all() for value in shipped.values())


def test_pretraining_is_repeatable_and_learns():
    first, again = (pretrain_toy(images=1, steps=2, batch=1, seed=3) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = pretrain_toy(images=1, steps=2, batch=1, seed=4)
    assert not torch.equal(first['pos_embed'], other['pos_embed'])
    with pytest.raises(ValueError, match='positive'):
        pretrain_toy(images=0)


def test_the_script_writes_a_foundation_model(tmp_path, run_here):
    script = REPOSITORY / 'projects/toy_streets/pretrain_toy.py'
    options = ('--images', 1, '--steps', 1, '--nproc', 1)
    run_here(script, tmp_path / 'toy.safetensors', *options)
    assert (
        read_state_dict(tmp_path / 'toy.safetensors').keys() == read_state_dict(PRETRAINED).keys()
    )
