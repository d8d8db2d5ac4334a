"""Detection files of SoMA's release: Co-DETR under its names there predicts the same here."""

import copy
import re

import pytest
import torch
from mmdet.models.layers import DinoTransformerDecoder
from mmengine.config import Config
from release_names import co_detr_shapes
from small_configs import small_model
from small_detectors import ARCH, build, image_sample

from soma.checkpoints import extract_adapter, load_plain, merge_files, open_checkpoint
from soma.checkpoints.co_detr_names import from_co_detr_release
from soma.io.checkpoint_files import CheckpointError, load_strictly, read_state_dict
from soma.models.build import build_model, use_plain_model

SIZE = (48, 64)
BRANCHES = ('detr', 'rpn+roi', 'atss')
# Names here and there, by the beginnings that they have.
TRANSFORMER = 'query_head.transformer'
NAMES = {
    r'backbone\.(.*)\.A': r'backbone.model.\1.lora_A.weight',
    r'backbone\.(.*)\.B': r'backbone.model.\1.lora_B.weight',
    r'backbone\.(.*)': r'backbone.model.\1',
    r'((?:neck|rpn_head)\..*)': r'\1',
    r'((?:en|de)coder\.layers\.\d)\.self_attn(.*)': rf'{TRANSFORMER}.\1.attentions.0\2',
    r'(decoder\.layers\.\d)\.cross_attn(.*)': rf'{TRANSFORMER}.\1.attentions.1\2',
    r'((?:en|de)coder\.layers\.\d)\.ffn(.*)': rf'{TRANSFORMER}.\1.ffns.0\2',
    r'((?:en|de)coder\.layers\.\d\.norms.*)': rf'{TRANSFORMER}.\1',
    r'decoder\.ref_point_head\.layers\.0(.*)': rf'{TRANSFORMER}.decoder.ref_point_head.0\1',
    r'decoder\.ref_point_head\.layers\.1(.*)': rf'{TRANSFORMER}.decoder.ref_point_head.2\1',
    r'(decoder\.norm\..*)': rf'{TRANSFORMER}.\1',
    r'memory_trans_fc(.*)': rf'{TRANSFORMER}.enc_output\1',
    r'memory_trans_norm(.*)': rf'{TRANSFORMER}.enc_output_norm\1',
    r'query_embedding(.*)': rf'{TRANSFORMER}.query_embed\1',
    r'level_embed': f'{TRANSFORMER}.level_embeds',
    r'aux_queries\.roi\.position\.0(.*)': rf'{TRANSFORMER}.aux_pos_trans.0\1',
    r'aux_queries\.roi\.position\.1(.*)': rf'{TRANSFORMER}.aux_pos_trans_norm.0\1',
    r'aux_queries\.atss\.position\.0(.*)': rf'{TRANSFORMER}.aux_pos_trans.1\1',
    r'aux_queries\.atss\.position\.1(.*)': rf'{TRANSFORMER}.aux_pos_trans_norm.1\1',
    r'bbox_head\.(.*)': r'query_head.\1',
    r'dn_query_generator(.*)': r'query_head.dn_generator\1',
    r'downsample\.conv(.*)': r'query_head.downsample.0\1',
    r'downsample\.gn(.*)': r'query_head.downsample.1\1',
    r'roi_head(.*)': r'roi_head.0\1',
    r'atss_head(.*)': r'bbox_head.0\1',
}


def name_there(name):
    patterns = (p for p in NAMES if re.fullmatch(p, name))
    pattern = next(patterns)
    return re.sub(pattern, NAMES[pattern], name)


def as_released(state):
    """Tensors of our model as the release names and cuts them."""
    there = {'backbone.model.mask_token': torch.zeros(1, ARCH['embed_dim'])}
    for name, value in state.items():
        if name.endswith(('.A0', '.B0')):
            assert not value.any()
        elif '.attn.qkv.' not in name:
            there[name_there(name)] = value.clone()
        else:  # three layers there
            for part, rows in zip('qkv', value.chunk(3), strict=True):
                there[name_there(name).replace('qkv', part)] = rows.clone()
    return there


@pytest.fixture(scope='module')
def config():
    """A small Co-DETR of the release's structure with SoMA of rank 2."""
    model = small_model('dinov2-L_codetr')
    model.backbone.update(arch=ARCH, img_size=SIZE)
    model.backbone.adapter.update(rank=2, start_block=2)
    model.neck.pyramid = (2, 1, 0.5, 0.5)
    return Config(dict(default_scope='mmdet', model=model))


@pytest.fixture(scope='module')
def model(config):
    """As a file of the release is meant: A0 and B0 are 0, A and B are not."""
    torch.manual_seed(0)
    model = build(copy.deepcopy(config.model)).eval()
    for name, value in model.state_dict().items():
        if name.endswith(('.A0', '.B0')):
            value.zero_()
        elif value.is_floating_point():
            value += 0.1 * torch.randn_like(value)
    return model


@pytest.fixture(scope='module')
def released(model, tmp_path_factory):
    """A checkpoint of a training, whose averages are of several processes' names."""
    path = tmp_path_factory.mktemp('release') / 'soma_dgod.pth'
    average = {f'module.{n}': v + 0.01 for n, v in as_released(model.state_dict()).items()}
    average['steps'] = torch.tensor(4)
    content = {'state_dict': as_released(model.state_dict()), 'ema_state_dict': average, 'meta': {}}
    torch.save(content, path)
    return path


@torch.no_grad()
def predictions(model):
    """Boxes of all branches for two images, one of them with padding."""
    images = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    values = []
    for branch in BRANCHES:
        model.branch = branch
        samples = [image_sample(0, shape=SIZE), image_sample(0, shape=(40, 56))]
        for sample in samples:
            sample.set_metainfo(dict(batch_input_shape=SIZE))
        for sample in model.predict(images, samples):
            boxes = sample.pred_instances
            assert len(boxes)
            values += [boxes.bboxes, boxes.scores, boxes.labels.float()]
    return values


def assert_same(model, expected):
    for actual, value in zip(predictions(model), expected, strict=True):
        torch.testing.assert_close(actual, value, rtol=1e-4, atol=1e-4)


def plain(config, path):
    """Build the detector as tools/test.py does, and load the file."""
    config = copy.deepcopy(config)
    left_out = use_plain_model(config)
    model = build_model(config)
    load_plain(model, path, left_out=left_out)
    return model


@pytest.mark.slow
def test_the_same_boxes(config, model, released, tmp_path):
    """Of the file as it is, merged, and of its parts joined again."""
    expected = predictions(model)
    assert_same(plain(config, released), expected)
    merge_files(None, released, tmp_path / 'merged.pth')
    assert_same(plain(config, tmp_path / 'merged.pth'), expected)
    assert not [n for n in read_state_dict(tmp_path / 'merged.pth') if 'query_head' in n]
    extract_adapter(released, tmp_path / 'adapter.safetensors')
    weights = {
        name.removeprefix('backbone.'): value
        for name, value in open_checkpoint(released).tensors.items()
        if name.startswith('backbone.') and not name.endswith(('.A', '.B', '.A0', '.B0'))
    }
    torch.save(weights, tmp_path / 'base.pth')
    merge_files(tmp_path / 'base.pth', tmp_path / 'adapter.safetensors', tmp_path / 'again.pth')
    assert_same(plain(config, tmp_path / 'again.pth'), expected)


def test_names_and_shapes_are_the_releases(model):
    """By a rule which with the release's sizes gives all 356 of its names and shapes."""
    sizes = dict(maps=16, dims=32, layers=(1, 2), queries=20, classes=7, hidden=32)
    shapes = co_detr_shapes(**sizes, fully=32, anchors=9, heads=8)
    state = {n: v for n, v in model.state_dict().items() if not n.startswith('backbone.')}
    there = as_released(state)
    del there['backbone.model.mask_token']
    assert {name: value.shape for name, value in there.items()} == shapes
    renamed = from_co_detr_release({n: torch.empty(shape) for n, shape in shapes.items()})
    assert {n: v.shape for n, v in renamed.items()} == {n: v.shape for n, v in state.items()}


def test_each_name_and_the_average(model, released):
    """All of a checkpoint to train on, under the names of the adapted model."""
    state = model.state_dict()
    load_strictly(model, open_checkpoint(released).tensors, released)
    average = open_checkpoint(released, 'ema_state_dict').tensors
    assert average.keys() == state.keys()
    for name, value in open_checkpoint(released).tensors.items():
        assert torch.equal(value, state[name]), name
        if not name.endswith(('.A0', '.B0')):
            torch.testing.assert_close(average[name], value + 0.01)


def test_load_from(config, model, released, tiny_detector, build_runner):
    tiny_detector.model = copy.deepcopy(config.model)
    tiny_detector.update(dict.fromkeys(('val_dataloader', 'val_cfg', 'val_evaluator')))
    tiny_detector.update(load_from=str(released))
    tiny_detector.train_cfg.max_iters = 1
    tiny_detector.optim_wrapper.optimizer.lr = 0.0
    tiny_detector.default_hooks.checkpoint.interval = 9
    runner = build_runner(tiny_detector)
    runner.train()
    assert_same(runner.model.eval(), predictions(model))


def test_heads_count_only_those_that_there_are():
    """Without a RoI head, the first is ATSS; where features make queries, they do here."""
    first = 'query_head.transformer'
    state = dict.fromkeys(
        (
            f'{first}.pos_feats_trans.0.weight',
            f'{first}.pos_feats_norm.0.bias',
            'bbox_head.0.atss_cls.bias',
        ),
        torch.ones(1),
    )
    assert [*from_co_detr_release(state)] == [
        'aux_queries.atss.content.0.weight',
        'aux_queries.atss.content.1.bias',
        'atss_head.atss_cls.bias',
    ]
    other = {'bbox_head.0.atss_cls.bias': torch.ones(1)}
    assert from_co_detr_release(other) is other


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        (f'{TRANSFORMER}.pos_trans.weight', 'pos_trans.weight is no part of Co-DETR as'),
        (f'{TRANSFORMER}.aux_pos_trans.2.bias', r"is for auxiliary head 2, but there are \['roi',"),
    ],
)
def test_what_is_no_part_of_it_is_refused(released, tmp_path, name, message):
    state = {**read_state_dict(released), name: torch.ones(1)}
    torch.save({'state_dict': state}, tmp_path / 'odd.pth')
    with pytest.raises(CheckpointError, match=rf'odd\.pth: .*{message}'):
        open_checkpoint(tmp_path / 'odd.pth')


def test_the_structure_before_is_told_apart(config, released):
    """A model without the release's options says which tensor differs."""
    config = copy.deepcopy(config)
    del config.model.decoder['num_feats']
    decoder = DinoTransformerDecoder(**config.model.decoder)
    width = decoder.ref_point_head.layers[0].in_features
    message = rf'soma_dgod.*ref_point_head\.layers\.0\.weight is \[32, 64\] there and \[32, {width}'
    with pytest.raises(CheckpointError, match=message):
        plain(config, released)
