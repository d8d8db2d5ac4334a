"""Compiled blocks: the same results, few graphs, whatever the depth and the sizes of images."""

import pytest
import torch
import torch._dynamo
from torch import nn

from soma.engine.hooks import CompileBlocksHook
from soma.io.files import InputError
from soma.models import DINOv2

pytestmark = pytest.mark.slow
ARCH = dict(embed_dim=16, depth=8, num_heads=2)


def _runner(backbone):
    class Logger:
        info = print

    class Runner:
        model, logger = nn.Module(), Logger

    Runner.model.backbone = backbone
    return Runner


def _gradients(backbone, image):
    maps = backbone(image)
    sum((m * m).mean() for m in maps).backward()
    gradients = {n: p.grad for n, p in backbone.named_parameters() if p.grad is not None}
    backbone.zero_grad(set_to_none=True)
    return maps, gradients


@pytest.fixture
def graphs():
    """How many graphs were compiled since the test began."""
    limit = torch._dynamo.config.recompile_limit
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield lambda: torch._dynamo.utils.counters['stats']['unique_graphs']
    assert not torch._dynamo.utils.counters['graph_break']
    torch._dynamo.config.recompile_limit = limit
    torch._dynamo.reset()


@pytest.mark.parametrize(('method', 'with_cp'), [('SoMA', False), ('SoMA', True), ('DoRA', False)])
def test_results_are_those_without(method, with_cp, graphs):
    torch.manual_seed(0)
    adapter = dict(type=method, start_block=4)
    backbone = DINOv2(ARCH, img_size=32, patch_size=8, adapter=adapter, with_cp=with_cp)
    backbone.init_weights()
    for parameter in backbone.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.02)
    images = [torch.randn(2, 3, 32, 32), torch.randn(1, 3, 40, 32)]
    expected = [_gradients(backbone, image) for image in images]
    CompileBlocksHook(backend='aot_eager').before_run(_runner(backbone))
    for image, (maps, gradients) in zip(images, expected, strict=True):
        new_maps, new_gradients = _gradients(backbone, image)
        torch.testing.assert_close(new_maps, maps, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(new_gradients, gradients, rtol=1e-4, atol=1e-6)
    assert 0 < graphs() <= (12 if with_cp else 6)  # not one for each of 8 blocks and two sizes
    backbone.eval()
    with torch.inference_mode():
        backbone(images[0])
    assert graphs() <= (16 if with_cp else 9)
    assert not [name for name in backbone.state_dict() if '_orig_mod' in name]


def test_a_training_is_that_without(tiny_config, build_runner, graphs, tmp_path):
    plain = build_runner(tiny_config, {'work_dir': str(tmp_path / 'plain')})
    plain.train()
    tiny_config.custom_hooks.append(dict(type='CompileBlocksHook', backend='aot_eager'))
    compiled = build_runner(tiny_config, {'work_dir': str(tmp_path / 'compiled')})
    compiled.train()
    assert graphs() > 0
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(compiled.model.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_a_backbone_without_blocks_is_refused():
    with pytest.raises(InputError, match='no backbone with blocks to compile'):
        CompileBlocksHook().before_run(_runner(nn.Conv2d(3, 4, 1)))
