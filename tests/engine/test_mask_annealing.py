"""The annealing of EoMT's masks: its course, and a training with it, resumed and merged."""

import pytest
import torch

from soma.checkpoints import load_plain, merge_files
from soma.engine.hooks.mask_annealing import MaskAnnealingHook, default_spans, mask_probability
from soma.io.checkpoint_files import read_checkpoint, write_checkpoint
from soma.models import DINOv2
from soma.models.build import build_model, use_plain_model

ARCH = dict(embed_dim=16, depth=6, num_heads=2)


def test_probability_falls_polynomially():
    values = [mask_probability(step, 10, 20, 0.9) for step in (0, 10, 15, 20, 99)]
    assert values == [1, 1, 0.5**0.9, 0, 0]


@pytest.mark.parametrize(
    ('blocks', 'iterations', 'begins', 'ends'),
    [  # ViT-L on Cityscapes, in 107 epochs; ViT-S and ViT-g on COCO, in 12 (rounded)
        (4, 19902, [3317, 6634, 9951, 13268], [6634, 9951, 13268, 16585]),
        (3, 88692, [14782, 36955, 59128], [29564, 51737, 73910]),
        (5, 88692, [14782, 25869, 36955, 48042, 59128], [29564, 40651, 51737, 62824, 73910]),
        (1, 600, [100], [200]),
    ],
)
def test_default_is_the_published_recipe(blocks, iterations, begins, ends):
    spans = default_spans(blocks, iterations)
    for actual, expected in zip(zip(*spans, strict=True), (begins, ends), strict=True):
        assert actual == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(begin=[1]), 'as many iterations'),
        (dict(begin=[2], end=[2]), r'before its end, .*begin=\[2\], end=\[2\]'),
        (dict(power=0), 'power > 0'),
        (dict(begin=[1, 2], end=[3]), 'as many iterations'),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MaskAnnealingHook(**options)


@pytest.fixture
def eomt_config(tiny_config, tmp_path):
    torch.manual_seed(3)
    backbone = DINOv2(ARCH, img_size=32, patch_size=8)
    write_checkpoint(backbone.state_dict(), tmp_path / 'base.pth')
    model = tiny_config.model
    model.type, model.backbone.arch = 'EoMT', ARCH
    model.backbone.init_cfg.checkpoint = str(tmp_path / 'base.pth')
    del model.backbone['out_indices']
    head = dict(num_classes=19, num_queries=5, num_blocks=2, num_points=64)
    model.decode_head = dict(type='EoMTHead', **head)
    tiny_config.default_hooks.checkpoint = dict(
        type='AdapterCheckpointHook', by_epoch=False, interval=3
    )
    tiny_config.train_cfg.update(max_iters=6, val_interval=9)
    tiny_config.custom_hooks += [
        dict(type='TrainableEMAHook', momentum=0.3),
        dict(type='MaskAnnealingHook', begin=[0, 1], end=[2, 5]),
    ]
    return tiny_config


def test_a_training_resumes_exactly_and_merges(eomt_config, build_runner, tmp_path):
    seen = []

    def note(runner, **kwargs):
        seen.append([*runner.model.decode_head.mask_probabilities])

    runner = build_runner(eomt_config, {'work_dir': str(tmp_path / 'whole')}, after_train_iter=note)
    runner.train()
    first = [[1, 1], [0.5**0.9, 1]]
    assert seen == first + [[0, (share / 4) ** 0.9] for share in (3, 2, 1, 0)]
    rest = {'load_from': str(tmp_path / 'whole/iter_3.pth'), 'resume': True}
    build_runner(eomt_config, rest | {'work_dir': str(tmp_path / 'rest')}).train()
    files = [tmp_path / name / 'iter_6.pth' for name in ('whole', 'rest')]
    actual, expected = map(read_checkpoint, files)
    for part in ('state_dict', 'ema_state_dict'):
        assert all(torch.equal(expected[part][name], v) for name, v in actual[part].items())

    merge_files(tmp_path / 'base.pth', files[0], tmp_path / 'merged.pth')
    use_plain_model(eomt_config)
    x, results = torch.randn(1, 3, 32, 48), []
    for file in (files[0], tmp_path / 'merged.pth'):
        model = build_model(eomt_config)
        load_plain(model, file, base=tmp_path / 'base.pth' if file is files[0] else None)
        results.append(model.encode_decode(x, [dict(img_shape=(32, 48), ori_shape=(32, 48))]))
    torch.testing.assert_close(*results)
    assert results[0].shape == (1, 19, 32, 48)


def test_an_adapter_starts_from_what_its_layers_see_among_queries(eomt_config, build_runner):
    counts = []

    def look(runner):
        layer = runner.model.backbone.blocks[5].mlp.fc2
        layer.register_forward_hook(lambda module, args, out: counts.append(args[0].shape[1]))

    eomt_config.model.backbone.adapter.type = 'CorDA'
    build_runner(eomt_config, {'train_cfg.max_iters': 1}, 'HIGHEST', before_train=look).train()
    assert counts and {*counts} == {5 + 1 + 16}


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'model.decode_head.num_blocks': 3}, '2 begins for num'),
        (
            {
                'model.type': 'WindowEncoderDecoder',
                'model.decode_head': dict(
                    type='FCNHead', in_channels=16, channels=8, num_classes=19, _delete_=True
                ),
            },
            r"is for model=dict\(type='EoMT'\)",
        ),
    ],
)
def test_another_model_is_refused(eomt_config, build_runner, options, message):
    runner = build_runner(eomt_config, options)
    with pytest.raises(ValueError, match=message):
        runner.train()
    assert runner.iter == 0
