import numpy as np
import pytest
import torch
from mmengine.registry import METRICS
from PIL import Image

from soma.io.files import InputError

META = dict(classes=('background', 'object'), episode_classes=('cat', 'dog', 'cow'))


def episode(rng, name, place):
    label = rng.choice([0, 1, 255], (6, 7), p=[0.5, 0.4, 0.1])
    prediction = np.where(rng.random((6, 7)) < 0.6, label % 2, rng.integers(0, 2, (6, 7)))
    return dict(
        class_name=name,
        domain=f'{place:06d}_{name}',
        img_path='folder/x.jpg',
        pred_sem_seg=dict(data=torch.from_numpy(prediction)[None]),
        gt_sem_seg=dict(data=torch.from_numpy(label)[None]),
    )


def iou(episodes, label):
    hits = union = 0
    for sample in episodes:
        prediction, truth = (sample[f'{k}_sem_seg']['data'].numpy() for k in ('pred', 'gt'))
        counted = truth != 255
        hits += ((prediction == label) & (truth == label) & counted).sum()
        union += (((prediction == label) | (truth == label)) & counted).sum()
    return 100 * hits / union


@pytest.fixture
def samples():
    rng = np.random.default_rng(0)
    names = ('cat', 'dog', 'cat', 'cat', 'dog')
    return [episode(rng, name, place) for place, name in enumerate(names)]


def build(**options):
    metric = METRICS.build(dict(type='EpisodeIoUMetric', **options))
    metric.dataset_meta = META
    return metric


def test_scores_are_those_of_the_definition(samples):
    metric = build()
    metric.process({}, samples[:2])
    metric.process({}, samples[2:])
    scores = metric.evaluate(5)
    classes = {n: iou([s for s in samples if s['class_name'] == n], 1) for n in ('cat', 'dog')}
    assert scores == {  # a class without an episode is left out
        'mIoU': round(np.mean([*classes.values()]), 2),
        'FB-IoU': round((iou(samples, 0) + iou(samples, 1)) / 2, 2),
    }
    (report,) = metric.report['domains'].values()
    assert report['IoU'] == {**{n: pytest.approx(v) for n, v in classes.items()}, 'cow': None}
    assert metric.report['mean'] == {name: pytest.approx(v, abs=0.01) for name, v in scores.items()}


def test_a_report_without_scores_is_plain_data(samples):
    metric = build()
    samples[0]['gt_sem_seg']['data'][:] = 255
    metric.process({}, samples[:1])
    assert np.isnan(metric.evaluate(1)['mIoU'])
    assert metric.report['mean'] == {'mIoU': None, 'FB-IoU': None}
    assert metric.report['domains']['episodes']['mIoU'] is None


def test_what_the_last_processes_repeat_is_left_out(samples):
    metric = build()
    metric.process({}, [*samples, samples[0]])  # padding of a sampler
    padded = metric.evaluate(5)
    metric.process({}, samples)
    assert padded == metric.evaluate(5)


def test_predictions_are_written(samples, tmp_path):
    build(output_dir=str(tmp_path)).process({}, samples)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('*.png'))
    assert files == [f'{s["domain"]}/x.png' for s in samples]
    written = np.array(Image.open(tmp_path / files[3]))
    assert np.array_equal(written, samples[3]['pred_sem_seg']['data'][0])


def test_a_sample_that_is_no_query_is_refused(samples):
    del samples[0]['class_name']
    with pytest.raises(InputError, match=r'x\.jpg is no query: use EpisodeDataset'):
        build().process({}, samples)
