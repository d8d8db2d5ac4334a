"""Every config of a detector trains and tests, on a small model and noise with boxes."""

import math
from pathlib import Path

import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, TRANSFORMS
from raw_data import WEATHERS, write_raw_data
from small_configs import DETECTORS, dicts, each, make_short, shrink_detector, without_validation
from small_detectors import build
from torch.nn import GroupNorm, LayerNorm
from torch.optim import SGD

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
    assert keep == dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-2, 1e-2)) and flip.prob == 0.5
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
    keys, backbone = wrapper.paramwise_cfg.custom_keys, dict(lr_mult=0.5, decay_mult=0.2)
    if head == 'codetr':
        no_decay = dict(decay_mult=0.0)
        assert keys == dict(backbone=backbone, query_embed=no_decay, level_embed=no_decay)
        assert wrapper.paramwise_cfg.norm_decay_mult == 0
    else:
        assert wrapper.paramwise_cfg == dict(custom_keys=dict(backbone=backbone))
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
        structure = (model.decoder.num_feats, model.query_features, model.downsample_bias)
        assert structure == (128, False, True) and not box.sync_cls_avg_factor
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


def test_co_detr_trains_as_in_the_release():
    """The learning rate over 40,000 iterations, and what does not decay."""
    config = load_config(
        REPOSITORY / 'configs/det/soma_dinov2-L_codetr_diverse-weather_1024x1024.py'
    )
    assert config.default_hooks.checkpoint.max_keep_ckpts == 8
    shrink_detector(config.model)
    model = build(config.model)
    optimizer = build_optim_wrapper(model, config.optim_wrapper).optimizer
    names = {id(p): name for name, p in model.named_parameters()}
    settings = {names[id(p)]: group for group in optimizer.param_groups for p in group['params']}
    norms = {
        f'{name}.{kind}'
        for name, module in model.named_modules()
        if isinstance(module, LayerNorm | GroupNorm) and not name.startswith('backbone')
        for kind in ('weight', 'bias')
    }
    still = {name for name, group in settings.items() if group['weight_decay'] == 0}
    assert (
        still == {*norms, 'query_embedding.weight', 'level_embed'} and 'decoder.norm.bias' in norms
    )
    for name, group in settings.items():
        slow = name.startswith('backbone')
        assert group['lr'] == pytest.approx(1e-4 if slow else 2e-4)
        if name not in still:
            assert group['weight_decay'] == pytest.approx(0.01 if slow else 0.05)
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=2e-4)
    schedulers = [
        PARAM_SCHEDULERS.build({**s, 'optimizer': optimizer}) for s in config.param_scheduler[:2]
    ]
    rates = []
    for _ in range(40000):
        rates.append(optimizer.param_groups[0]['lr'])
        for scheduler in schedulers:
            scheduler.step()
    drops = [i for i in range(1, 40000) if rates[i] < rates[i - 1]]
    assert drops == [25500, 33500] and rates[0] == pytest.approx(2e-6)
    assert rates[1500] == pytest.approx(2e-4) and rates[-1] == pytest.approx(2e-6)


def test_which_images_are_drawn_again():
    """As in the release: those of which only slivers are left, not those without any box."""
    config = load_config(REPOSITORY / 'configs/_base_/datasets/diverse_weather_1024x1024.py')
    keep = TRANSFORMS.build({**config.train_pipeline[4], '_scope_': 'mmdet'})
    for sizes, expected in (([5, 0.001], 1), ([0.001], None), ([], 0)):
        boxes = torch.tensor([[2, 2, 2 + size, 9] for size in sizes]).reshape(-1, 4)
        results = keep(dict(gt_bboxes=HorizontalBoxes(boxes)))
        assert (results and len(results['gt_bboxes'])) == expected


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


@pytest.mark.parametrize('path', each(DETECTORS))
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
