import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from soma.io.files import InputError
from soma.models.segmentors.prototype import masked_average, prototype_scores

SIZE = (24, 32)


@pytest.fixture
def model():
    init_default_scope('mmseg')
    torch.manual_seed(0)
    preprocessor = dict(type='EpisodePreProcessor', mean=[100.0] * 3, std=[50.0] * 3, size=SIZE)
    backbone = dict(
        type='DINOv2',
        arch=dict(embed_dim=8, depth=2, num_heads=1),
        img_size=SIZE,
        patch_size=8,
        out_indices=[1],
        pyramid=[1],
    )
    config = dict(type='PrototypeSegmentor', backbone=backbone, data_preprocessor=preprocessor)
    return MODELS.build(config).eval()


def sample(seed, size=SIZE):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 255, (3, *size)).astype(np.uint8)
    labels = rng.choice([0, 1, 255], (1, *size), p=[0.5, 0.4, 0.1])
    data = SegDataSample(metainfo=dict(ori_shape=(12, 16), img_shape=size))
    data.gt_sem_seg = PixelData(data=torch.from_numpy(labels))
    return dict(inputs=torch.from_numpy(image), data_samples=data)


def episodes(count, shots):
    return pseudo_collate(
        [
            {**sample(index), 'supports': [sample([index, shot]) for shot in range(shots)]}
            for index in range(count)
        ]
    )


def in_numpy(model, query, supports):
    """Scores of background and class ``(2, h, w)`` from the definition."""
    features = [model.backbone(s['inputs'][None].float().sub(100).div(50))[0][0] for s in supports]
    vectors = []
    for label in (0, 1):
        means = []
        for maps, support in zip(features, supports, strict=True):
            maps = maps.detach().double().numpy().repeat(8, 1).repeat(8, 2)  # to the image's size
            means.append(
                maps[:, support['data_samples'].gt_sem_seg.data[0].numpy() == label].mean(1)
            )
        vectors.append(np.mean(means, 0))
    maps = model.backbone(query['inputs'][None].float().sub(100).div(50))[0][0].detach().numpy()
    scores = [
        [
            [20 * v @ x / np.linalg.norm(v) / np.linalg.norm(x) for x in row]
            for row in maps.transpose(1, 2, 0)
        ]
        for v in vectors
    ]
    return np.array(scores)


@pytest.mark.parametrize('shots', [1, 3])
def test_scores_are_those_of_the_definition(shots, model):
    batch = model.data_preprocessor(episodes(2, shots))
    with torch.no_grad():
        scores = model(batch['inputs'], batch['data_samples'], supports=batch['supports'])
    assert scores.shape == (2, 2, 3, 4)
    for index in range(2):
        expected = in_numpy(model, sample(index), [sample([index, s]) for s in range(shots)])
        assert scores[index].numpy() == pytest.approx(expected, abs=1e-3)


def test_loss_is_the_cross_entropy_of_labelled_pixels(model):
    batch = model.data_preprocessor(episodes(2, 1), training=True)
    loss = model(**batch, mode='loss')['loss_ce']
    scores = model.encode_decode(batch['inputs'], batch['supports']).detach()
    scores = torch.nn.functional.interpolate(scores, SIZE, mode='bilinear').double().numpy()
    chances = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    labels = np.stack([s.gt_sem_seg.data[0] for s in batch['data_samples']])
    right = np.take_along_axis(chances, (labels == 1)[:, None].astype(int), 1)[:, 0]
    assert loss.item() == pytest.approx(-np.log(right[labels != 255]).mean(), rel=1e-4)
    loss.backward()
    assert all(p.grad.abs().sum() > 0 for p in model.backbone.blocks.parameters())


def test_predictions_have_the_size_of_the_file(model):
    with torch.no_grad():
        results = model.test_step(episodes(2, 1))
    for result in results:
        assert result.pred_sem_seg.data.shape == (1, 12, 16)
        assert {*result.pred_sem_seg.data.unique().tolist()} <= {0, 1}


def test_a_query_that_is_its_own_support_is_found(model):
    """Two halves of other colours: the prototypes separate them."""
    image = torch.full((3, *SIZE), 60, dtype=torch.uint8)
    image[:, :, 16:] = 200
    data = sample(0)['data_samples']
    data.gt_sem_seg.data[:] = (torch.arange(32) >= 16).long()
    query = dict(inputs=image, data_samples=data)
    with torch.no_grad():
        (result,) = model.test_step(pseudo_collate([{**query, 'supports': [query]}]))
    assert torch.equal(result.pred_sem_seg.data[0], (torch.arange(16) >= 8).expand(12, 16).long())


def test_a_small_object_is_not_lost_and_an_empty_mask_gives_nothing():
    features = torch.randn(5, 3, 4)
    mask = torch.zeros(24, 32)
    assert not masked_average(features, mask).any()
    mask[9, 10] = 1  # one pixel, of position (1, 1)
    assert torch.allclose(masked_average(features, mask), features[:, 1, 1], atol=1e-4)
    scores = prototype_scores(features[None], torch.zeros(1, 2, 5), 20)
    assert not scores.any()  # neither class nor background


def test_bfloat16_costs_no_scores():
    query, prototypes = torch.randn(2, 16, 3, 4), torch.randn(2, 2, 16)
    with torch.autocast('cpu', torch.bfloat16):
        scores = prototype_scores(query, prototypes, 20)
    assert torch.equal(scores, prototype_scores(query, prototypes, 20))


def test_images_are_prepared_once(model, monkeypatch):
    preprocessor, cast = model.data_preprocessor, []
    original = preprocessor.cast_data

    def cast_data(data):
        cast.append(isinstance(data, torch.Tensor))
        return original(data)

    monkeypatch.setattr(preprocessor, 'cast_data', cast_data)
    preprocessor(episodes(2, 3))
    assert sum(cast) == 2 * (1 + 3)


def test_padding_of_tests_is_refused(model):
    options = dict(type='EpisodePreProcessor', size=SIZE, test_cfg=dict(size_divisor=32))
    with pytest.raises(InputError, match=r"takes no test_cfg, got \{'size_divisor': 32\}"):
        MODELS.build(options)


def test_single_images_are_refused(model):
    with pytest.raises(InputError, match='a query has no support images'):
        model(torch.zeros(1, 3, *SIZE))
    with pytest.raises(InputError, match=r'a query has no support images: .*EpisodeDataset'):
        model.test_step(pseudo_collate([sample(0)]))


def test_a_scale_that_is_none_is_refused(model):
    config = dict(type='PrototypeSegmentor', backbone={}, scale=0)
    with pytest.raises(InputError, match='scale must be a number above 0, got 0'):
        MODELS.build(config)
