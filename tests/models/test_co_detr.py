"""Co-DETR: against mmdet's DINO, and what its auxiliary heads add."""

import copy

import pytest
import torch
from mmcv.ops import batched_nms
from mmdet.models import DINO, DINOHead
from mmdet.models.layers import DinoTransformerDecoder
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from small_configs import small_model
from small_detectors import build, image_sample

NAME = 'dinov2-L_codetr'
OFF = dict(rpn_head=None, roi_head=None, atss_head=None)


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    return build(small_model(NAME)).train()


@pytest.fixture(scope='module')
def like_mmdet():
    """With a box code of the size that mmdet's decoder has."""
    config = small_model(NAME)
    decoder = DinoTransformerDecoder(**small_model('dinov2-L_dino').decoder)
    config.decoder.num_feats = decoder.ref_point_head.layers[0].in_features // 4
    torch.manual_seed(0)
    return build(config).train()


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.randn(2, 3, 64, 64), [image_sample(3), image_sample(5, seed=1)]


def without_auxiliary_heads(model):
    """A detector of the same weights."""
    config = small_model(NAME, **OFF)
    config.decoder.num_feats = model.decoder.num_feats
    return with_weights_of(model, build(config).train())


def with_weights_of(model, other):
    """``other`` has no more weights than ``model``."""
    state = model.state_dict()
    other.load_state_dict({name: state[name] for name in other.state_dict()})
    return other


def test_without_auxiliary_heads_it_is_dino(like_mmdet, images):
    lean = without_auxiliary_heads(like_mmdet)
    plain = dino_of(lean)
    losses = []
    for detector in (lean, plain):
        torch.manual_seed(2)  # for the noise of the denoising queries
        losses.append(detector.loss(*images))
    assert losses[0].keys() == losses[1].keys() and len(losses[0]) == 15
    for name, value in losses[1].items():
        assert torch.equal(losses[0][name], value), name


def dino_of(model):
    """mmdet's DINO with the losses and the weights of ``model``."""
    config = small_model('dinov2-L_dino')
    config.bbox_head = dict(small_model(NAME).bbox_head, type='DINOHead')
    dino = build(config).train()
    assert type(dino) is DINO and type(dino.bbox_head) is DINOHead
    return with_weights_of(model, dino)


def test_queries_of_auxiliary_heads_leave_those_of_dino_alone(model, images):
    losses = []
    for detector in (without_auxiliary_heads(model), model):
        torch.manual_seed(2)
        losses.append(detector.loss(*images))
    for name, value in losses[0].items():
        torch.testing.assert_close(losses[1][name], value, rtol=1e-4, atol=1e-6)
    more = losses[1].keys() - losses[0].keys()
    assert {name.split('.')[0] for name in more} == {'rpn', 'roi', 'atss'}


@pytest.mark.parametrize('amp', [False, True])
@pytest.mark.parametrize('counts', [(3, 5), (4, 0), (0, 0)])
def test_every_parameter_gets_a_gradient(model, counts, amp):
    """Also without any box, so that several processes need not look for unused parameters."""
    model.zero_grad()
    samples = [image_sample(count, seed) for seed, count in enumerate(counts)]
    with torch.autocast('cpu', torch.bfloat16, enabled=amp):
        losses = model.loss(torch.randn(2, 3, 64, 64), samples)
    total, values = model.parse_losses(losses)
    total.backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert not [name for name, p in trained.items() if p.grad is None]
    assert all(p.grad.isfinite().all() for p in trained.values())
    assert all(value.isfinite().all() for value in values.values())
    if all(counts):
        assert not [name for name, value in values.items() if value == 0 and 'loss' in name]


@pytest.mark.slow
def test_it_learns(model, images):
    model = copy.deepcopy(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    history = []
    for _ in range(7):
        total, values = model.parse_losses(model.loss(*images))
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(trained, 35)
        optimizer.step()
        history.append(float(values['loss'].detach()))
    assert max(history[-2:]) < 0.6 * history[0]


def test_one_loss_a_layer_for_the_queries_of_each_head(model, images):
    names = model.loss(*images).keys()
    kinds = [f'query_loss_{kind}' for kind in ('cls', 'bbox', 'iou')]
    expected = {
        f'{head}.{place}{k}' for head in ('roi', 'atss') for place in ('', 'd0.') for k in kinds
    }
    assert {name for name in names if 'query' in name} == expected


def made_up(count, seed):
    generator = torch.Generator().manual_seed(seed)
    boxes = image_sample(count, seed).gt_instances.bboxes
    return InstanceData(
        priors=boxes + 2,
        bboxes=boxes,
        labels=torch.randint(0, 7, (count,), generator=generator),
        features=torch.randn(count, 32, generator=generator),
    )


def decoded(model, memory, positives):
    """States of the decoder's queries that stand for ``positives``, a list an image."""
    samples = [image_sample(1) for _ in positives]
    inputs = dict(
        query=torch.zeros(len(samples), 4, 32),
        reference_points=torch.full((len(samples), 4, 4), 0.5),
        dn_mask=torch.zeros(4, 4, dtype=torch.bool),
    )
    counts = model._add_queries(inputs, {'roi': positives}, samples)
    shapes = torch.tensor([[8, 8]] * 5)
    states = model.forward_decoder(
        memory=memory[: len(samples)],
        memory_mask=None,
        spatial_shapes=shapes,
        level_start_index=torch.arange(5) * 64,
        valid_ratios=torch.ones(len(samples), 5, 2),
        **inputs,
    )['hidden_states']
    assert counts == [max(map(len, positives))]
    return states[:, :, 4:]


def test_padding_is_not_seen(model):
    torch.manual_seed(0)
    memory = torch.randn(1, 320, 32).repeat(2, 1, 1)
    few, many = made_up(2, 0), made_up(6, 1)
    together = decoded(model, memory, [few, many])
    torch.testing.assert_close(together[:, :1, :2], decoded(model, memory, [few]))
    torch.testing.assert_close(together[:, 1:], decoded(model, memory, [many]))
    nothing = decoded(model, memory, [many[:0], many])
    assert nothing.isfinite().all()
    torch.testing.assert_close(nothing[:, 1:], together[:, 1:])


def test_targets_are_given_in_order(model):
    given = made_up(3, 0)
    scores, boxes = torch.zeros(5, 7), torch.rand(5, 4)
    meta = dict(img_shape=(32, 64))
    labels, weights, targets, box_weights, pos, neg = model.bbox_head._get_targets_single(
        scores, boxes, given, meta
    )
    assert labels.tolist() == [*given.labels.tolist(), 7, 7]
    assert weights.tolist() == [1, 1, 1, 0, 0] and box_weights[:, 0].tolist() == weights.tolist()
    x1, y1, x2, y2 = given.bboxes[1].tolist()
    expected = [(x1 + x2) / 128, (y1 + y2) / 64, (x2 - x1) / 64, (y2 - y1) / 32]
    torch.testing.assert_close(targets[1], torch.tensor(expected))
    assert pos.tolist() == [0, 1, 2] and len(neg) == 0


def maps_of_places():
    """Maps whose first channels hold the place of a cell in pixels, from 64 x 64 pixels."""
    maps = []
    for side in (16, 8, 4, 2, 1, 1):
        level = torch.zeros(2, 32, side, side)
        step = torch.arange(side) * 64 / side
        level[:, 0], level[:, 1] = step, step[:, None]
        maps.append(level)
    return maps


def test_positives_of_atss_come_with_their_features(model):
    samples = [image_sample(3), image_sample(5, seed=1)]
    losses, positives = model.atss_head.loss_and_positives(maps_of_places(), samples)
    assert {*losses} == {'loss_cls', 'loss_bbox', 'loss_centerness'}
    for sample, result in zip(samples, positives, strict=True):
        assert len(result)
        ground_truth = sample.gt_instances
        match = (result.bboxes[:, None] == ground_truth.bboxes).all(2)
        assert (match.sum(1) == 1).all()
        assert torch.equal(result.labels, ground_truth.labels[match.nonzero()[:, 1]])
        # anchors are centred on the corner of their cell
        torch.testing.assert_close(
            (result.priors[:, :2] + result.priors[:, 2:]) / 2, result.features[:, :2]
        )


def test_positives_of_the_roi_head_are_its_proposals(model):
    torch.manual_seed(0)
    maps = [torch.randn(2, 32, side, side) for side in (16, 8, 4, 2, 1, 1)]
    samples = [image_sample(3), image_sample(5, seed=1)]
    proposals = [InstanceData(bboxes=s.gt_instances.bboxes + 3) for s in samples]
    losses, positives = model.roi_head.loss_and_positives(maps, proposals, samples)
    assert {*losses} == {'loss_cls', 'acc', 'loss_bbox'}
    extractor = model.roi_head.bbox_roi_extractor
    for index, result in enumerate(positives):
        assert (
            len(result)
            and (bbox_overlaps(result.priors, result.bboxes, is_aligned=True) >= 0.5).all()
        )
        rois = torch.cat([torch.full((len(result), 1), float(index)), result.priors], 1)
        torch.testing.assert_close(result.features, extractor(maps[:5], rois).mean((2, 3)))


def test_no_more_queries_than_allowed(model):
    many = made_up(9, 0)
    assert model._choose(many) is many
    model = copy.deepcopy(model)
    model.max_positives = 4
    chosen = model._choose(many)
    assert len(chosen) == 4 and len(set(chosen.bboxes[:, 0].tolist())) == 4


def test_a_test_by_detr_does_nothing_more_than_dino(like_mmdet, images):
    """And its boxes are DINO's after soft-NMS."""
    model = copy.deepcopy(like_mmdet).eval()
    for part in ('rpn_head', 'roi_head', 'atss_head', 'downsample', 'aux_queries'):
        for module in getattr(model, part).modules():
            module.register_forward_hook(lambda *_: pytest.fail('an auxiliary head ran'))
    nms = dict(type='soft_nms', iou_threshold=0.1)  # few boxes overlap more
    model.bbox_head.test_cfg.nms = nms
    inputs, samples = images
    dino = dino_of(model).eval()
    with torch.no_grad():
        result = [sample.pred_instances for sample in model.predict(inputs, samples)]
        plain = [sample.pred_instances.clone() for sample in dino.predict(inputs, samples)]
    for actual, expected in zip(result, plain, strict=True):
        boxes, kept = batched_nms(expected.bboxes, expected.scores, expected.labels, nms)
        assert torch.equal(actual.bboxes, expected.bboxes[kept])
        assert torch.equal(actual.scores, boxes[:, 4])
        assert not torch.equal(actual.scores, expected.scores)


@pytest.mark.parametrize('branch', ['rpn+roi', 'atss'])
def test_other_branches_predict(model, images, branch):
    model = copy.deepcopy(model).eval()
    model.branch = branch
    with torch.no_grad():
        result = model.predict(*images)
    for sample in result:
        boxes = sample.pred_instances
        assert 0 < len(boxes) <= 100 and boxes.bboxes.shape[1] == 4
        assert ((boxes.scores >= 0) & (boxes.scores <= 1)).all() and (boxes.labels < 7).all()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(branch='rcnn'), r"one of \['detr', 'rpn\+roi', 'atss'\], got 'rcnn'"),
        (dict(branch='atss', atss_head=None), r"one of \['detr', 'rpn\+roi'\], got 'atss'"),
        (dict(rpn_head=None), 'rpn_head and roi_head go together'),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build(small_model(NAME, **options))
