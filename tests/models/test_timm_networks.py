"""Networks of timm that are built in other ways, and pyramids."""

import pickle

import pytest
import torch
from mmengine.registry import MODELS
from timm_families import STAGES

from soma.io.checkpoint_files import write_checkpoint
from soma.models import TimmVisionTransformer
from soma.models.backbones.timm_network import create_network

SOMA = dict(type='SoMA', rank=2)


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('vit_tiny_r_s16_p8_224', dict(embed_dim=24)),  # it runs its stem when it is made
        ('vit_small_patch16_rope_mixed_224', dict(embed_dim=12, num_heads=1, depth=3)),
        ('xcit_nano_12_p16_224', dict(embed_dim=8, depth=3, num_heads=1)),
        (
            'deit_tiny_distilled_patch16_224',
            dict(embed_dim=8, depth=3, num_heads=1, global_pool='token'),
        ),
    ],
)
def test_networks_of_other_kinds(name, options, tmp_path):
    """Their patches are embedded by more than one convolution, or positions are learned."""
    network = create_network(name, options).eval()
    write_checkpoint(network.state_dict(), tmp_path / 'x.pth')
    model = TimmVisionTransformer(
        name,
        model_args=options,
        out_indices=[0, 2],
        pyramid=[1, 1],
        adapter=SOMA | dict(targets='all-linear'),
        init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'x.pth')),
    ).eval()
    model.init_weights()
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        maps = network.forward_intermediates(x, indices=[0, 2], intermediates_only=True)
        assert all(map(torch.equal, model(x), maps))
    sum(m.sum() for m in model(x[..., :-3])).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize('family', STAGES)
@pytest.mark.parametrize('adapter', [None, SOMA])
def test_stages_behind_the_last_map_do_not_train(family, adapter):
    """Else several processes would wait for their gradients."""
    name, model_args = STAGES[family]
    config = dict(type='TimmPyramid', model_name=name, model_args=model_args, out_indices=[0, 1])
    if adapter is not None:
        config = dict(type='AdaptedBackbone', backbone=config, adapter=adapter)
    model = MODELS.build(config)
    model.init_weights()
    sum(m.square().sum() for m in model(torch.randn(1, 3, 32, 32))).backward()
    grads = [p.grad is not None for p in model.parameters() if p.requires_grad]
    assert grads and all(grads)
    twin = pickle.loads(pickle.dumps(model))
    assert type(twin) is type(model) and twin.frozen_names() == model.frozen_names()


def test_a_frozen_pyramid_keeps_its_statistics():
    model = MODELS.build(dict(type='TimmPyramid', model_name='test_resnet', frozen=True)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(torch.randn(2, 3, 32, 32))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(init_cfg=dict(type='Pretrained', chekpoint='x')), 'init_cfg must be'),
        (dict(init_cfg=dict(type='Xavier', layer='Linear')), 'init_cfg must be'),
        (dict(with_cp='no'), "with_cp must be one of .*, got 'no'"),
        (dict(model_name='pit_ti_224', with_cp=True), 'leave with_cp out'),
        (dict(out_indices=[1, 0]), 'out_indices must ascend'),
    ],
)
def test_bad_options_of_a_pyramid_are_refused(options, message):
    options = dict(model_name='convnext_atto') | options
    with pytest.raises(ValueError, match=f'^TimmPyramid: .*{message}'):
        MODELS.build(dict(type='TimmPyramid', **options))
