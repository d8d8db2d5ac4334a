"""The training loops of docs/user_guides/training_loops.md that take long to import."""

import importlib

import pytest
import torch
from training_loops import check_training

from soma.adapters import load_adapter

pytestmark = pytest.mark.slow


def test_lightning(example):
    pytest.importorskip('lightning')
    example('../user_guides/training_loops.md')
    check_training('lit')


def test_the_trainer_of_transformers(example):
    example('../user_guides/training_loops.md')
    trained = importlib.import_module('trainer').model.eval().cpu()
    plain = type(trained)(trained.config).eval()
    state = trained.state_dict()
    assert not torch.equal(plain.classifier.bias, state['classifier.bias'])
    plain.load_state_dict({n: v for n, v in state.items() if 'classifier' not in n}, strict=False)
    load_adapter(plain, 'adapter.safetensors')
    image = torch.randn(1, 3, 32, 32)
    assert torch.equal(plain(image).logits, trained(image).logits)
