"""Every config of a detector trains and tests, on a small model and noise with boxes."""

import math
from pathlib import Path

import pytest
from raw_data import WEATHERS, write_raw_data
from small_configs import DETECTORS, dicts, make_short, shrink_detector, without_validation

from soma.evaluation.prepare import use_tta
from soma.utils.config import REPOSITORY, load_config


@pytest.mark.parametrize('head', ['dino', 'codetr'])
def test_detection_recipe_is_that_of_the_paper(head):
    name = f'dinov2-L_{head}_diverse-weather_1024x1024.py'
    config = load_config(REPOSITORY / f'configs/det/soma_{name}')
    pipeline = config.train_dataloader.dataset.pipeline
    resize, crop, keep, flip, pad, distort, pack = pipeline[2:]
    assert (resize.scale, resize.ratio_range, resize.keep_ratio) == ((1024, 1024), (0.1, 2.0), True)
    assert (crop.crop_type, crop.crop_size) == ('absolute_range', (1024, 1024))
    assert crop.recompute_bbox and crop.allow_negative_crop
    assert (keep.min_gt_bbox_wh, keep.keep_empty, flip.prob) == ((1e-2, 1e-2), False, 0.5)
    assert (pad.size, pad.pad_val.img) == ((1024, 1024), (114, 114, 114))
    assert (distort.type, pack.type) == ('PhotoMetricDistortion', 'PackDomainDetInputs')
    domains = {part.domain: part for part in config.test_dataloader.dataset.datasets}
    assert {
        key: (Path(part.data_root).name, Path(part.ann_file).name) for key, part in domains.items()
    } == {
        'DC': ('daytime_clear', 'test.txt'),
        'NC': ('Night-Sunny', 'train.txt'),
        'DR': ('dusk_rainy', 'train.txt'),
        'NR': ('night_rainy', 'train.txt'),
        'DF': ('daytime_foggy', 'train.txt'),
    }
    for part in domains.values():
        assert part.pipeline[1] == dict(type='Resize', scale=(1024, 1024), keep_ratio=True)
        assert part.pipeline[2] == pad
    assert config.test_evaluator.mean_over == ['NC', 'DR', 'NR', 'DF']
    wrapper = config.optim_wrapper
    assert (wrapper.optimizer.lr, wrapper.optimizer.weight_decay) == (2e-4, 0.05)
    assert wrapper.paramwise_cfg == dict(
        custom_keys=dict(backbone=dict(lr_mult=0.5, decay_mult=0.2))
    )
    assert wrapper.clip_grad == dict(max_norm=35, norm_type=2)
    warm, steps, decay = config.param_scheduler
    assert (warm.start_factor, warm.end) == (0.01, 1500)
    assert (steps.milestones, steps.gamma) == ([24000, 32000], 0.1)
    assert (decay.type, decay.eta_min, decay.end) == ('CosineAnnealingWeightDecay', 1e-5, 40000)
    assert config.train_cfg.max_iters == 40000 and config.train_dataloader.batch_size == 2
    model = config.model
    assert model.backbone.adapter == dict(type='SoMA', rank=16, start_block=8)
    assert (model.num_queries, model.encoder.num_layers, model.decoder.num_layers) == (900, 6, 6)
    assert (model.neck.out_channels, model.neck.num_outs) == (256, 5)
    assert model.positional_encoding.temperature == 20
    assert (model.dn_cfg.label_noise_scale, model.dn_cfg.box_noise_scale) == (0.5, 1.0)
    assert model.dn_cfg.group_cfg.num_dn_queries == 100
    costs = [(cost.type, cost.weight) for cost in model.train_cfg.assigner.match_costs]
    assert costs == [('FocalLossCost', 2), ('BBoxL1Cost', 5), ('IoUCost', 2)]
    box = model.bbox_head
    assert (box.loss_bbox.loss_weight, box.loss_iou.loss_weight, box.num_classes) == (5, 2, 7)
    if head == 'codetr':
        assert dict(box.loss_cls) == dict(
            type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0
        )
        parts = (model.rpn_head, model.roi_head.bbox_head, model.atss_head)
        weights = [(part.loss_cls.loss_weight, part.loss_bbox.loss_weight) for part in parts]
        assert weights == [(12, 12), (12, 120), (12, 24)]
        assert model.atss_head.loss_centerness.loss_weight == 12
        assert model.train_cfg.atss.assigner.topk == 9
        assert model.roi_head.bbox_roi_extractor.roi_layer.output_size == 7
        assert model.test_cfg.max_per_img == 300
        assert model.test_cfg.nms == dict(type='soft_nms', iou_threshold=0.8)
        return
    for method in ('frozen', 'full'):  # they differ in what trains, not in data and schedule
        other = load_config(REPOSITORY / f'configs/det/{method}_{name}')
        assert other.train_dataloader == config.train_dataloader
        assert other.param_scheduler == config.param_scheduler[:-1]
        assert 'adapter' not in other.model.backbone


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with ``data`` as the configs read it."""
    root = tmp_path_factory.mktemp('weather')
    write_raw_data(root / 'data', (256, 128), images=4, val_images=1, domains=WEATHERS)
    return root


def shrink(config):
    """Change the sizes of a config, not what it is made of."""
    side = 64
    shrink_detector(config.model)
    for step in dicts(config._cfg_dict):
        if step.get('type') in ('RandomResize', 'Resize') and 'scale' in step:
            step.scale = (2 * side, side)
        elif step.get('type') == 'Pad':
            step.size = (2 * side, 2 * side)
        elif step.get('type') == 'RandomCrop':
            step.crop_size = (side, side)


@pytest.fixture
def small(folder, tmp_path, monkeypatch, no_charts):
    monkeypatch.chdir(folder)

    def load(path):
        config = load_config(path)
        shrink(config)
        make_short(config, tmp_path)
        return config

    return load


@pytest.mark.parametrize('path', DETECTORS, ids=lambda path: path.stem)
def test_every_config_trains_and_tests(path, small, build_runner):
    losses, sources = [], set()

    def after_train_iter(runner, batch_idx, data_batch, outputs):
        losses.append(outputs['loss'])
        sources.update(sample.domain for sample in data_batch['data_samples'])

    runner = build_runner(without_validation(small(path)), after_train_iter=after_train_iter)
    runner.train()
    assert len(losses) == 2 and all(map(math.isfinite, losses)) and sources == {'DC'}
    metrics = runner.test()
    assert [*metrics] == [f'{domain}_mAP' for domain in ('DC', 'NC', 'DR', 'NR', 'DF', 'mean')]
    assert all(0 <= value <= 100 for value in metrics.values())
    backbone = runner.model.backbone
    trained = {name for name, p in backbone.named_parameters() if p.requires_grad}
    method = path.stem.split('_')[0]
    if method == 'soma':
        assert trained and not [
            name for name in trained if not name.endswith(('.A', '.B', '.bias'))
        ]
    assert bool(trained) == (method != 'frozen')


def test_time_augmentation(small, build_runner):
    config = small(
        REPOSITORY / 'configs/det/soma_dinov2-L_dino-4scale_diverse-weather_1024x1024.py'
    )
    use_tta(config)
    assert build_runner(config).test().keys() >= {'DC_mAP', 'mean_mAP'}
