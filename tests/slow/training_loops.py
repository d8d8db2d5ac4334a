"""Checks what the scripts of docs/user_guides/training_loops.md have trained."""

import importlib

import torch

from soma.adapters import AdapterLayer


def check_training(script):
    """Run a script; what it has saved is what it has trained."""
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
