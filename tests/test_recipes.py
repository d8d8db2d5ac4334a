"""The scripts and configs of docs/user_guides run; what needs heavy packages: tests/slow."""

import importlib

import pytest
import torch

from soma.adapters import AdapterLayer


def check_training(script):
    """Run a script of training_loops.md; what it has saved is what it has trained."""
    script = importlib.import_module(script)
    trained = getattr(script, 'module', script).model.eval().cpu()
    layers = [layer for layer in trained.modules() if isinstance(layer, AdapterLayer)]
    assert layers and not any(torch.equal(layer.B, layer.B0) for layer in layers)
    start = importlib.import_module('model').pretrained()
    assert not torch.equal(trained.head.weight, start.head.weight)
    loaded = importlib.import_module('load').model.eval()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(loaded(images), trained(images), atol=1e-5, rtol=1e-4)
    fresh = importlib.import_module('model').adapted().eval()
    fresh.load_state_dict(trained.state_dict())
    assert torch.equal(fresh(images), trained(images))


@pytest.mark.parametrize('script', ['plain', 'accelerated'])
def test_training_loops(example, script):
    example('../user_guides/training_loops.md')
    check_training(script)


def test_the_trainer_of_transformers(example):
    example('../user_guides/training_loops.md')
    trained = importlib.import_module('trainer').model.eval().cpu()
    from soma.adapters import load_adapter

    plain = type(trained)(trained.config).eval()
    state = trained.state_dict()
    assert not torch.equal(plain.classifier.bias, state['classifier.bias'])
    plain.load_state_dict({n: v for n, v in state.items() if 'classifier' not in n}, strict=False)
    load_adapter(plain, 'adapter.safetensors')
    image = torch.randn(1, 3, 32, 32)
    assert torch.equal(plain(image).logits, trained(image).logits)
