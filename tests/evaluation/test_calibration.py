import itertools
import re

import numpy as np
import pytest
import torch
from mmengine.registry import METRICS
from mmengine.structures import PixelData
from mmseg.models.segmentors import SegTTAModel
from mmseg.structures import SegDataSample
from PIL import Image
from scipy.stats import rankdata
from torch import nn

from soma.evaluation.calibration import BINS, KEYS, Calibration, Confidences, pixel_scores
from soma.io.files import InputError


def drawn(classes=5, size=(40, 50), scale=2.0):
    """Logits ``(classes, h, w)`` and labels."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, classes, size)
    logits = rng.normal(size=(classes, *size)) * rng.uniform(0.2, 1.5, size)
    truth = np.arange(classes)[:, None, None] == label
    logits += 2 * truth * (rng.random(size) < 0.7)
    label[:3] = 255
    return (scale * logits).astype(np.float32), label


def direct(logits, label):
    """The scores of all pixels by their definitions, from sorted confidences."""
    with np.errstate(invalid='ignore'):
        shares = np.exp((logits - logits.max(0)).astype(float))[:, label != 255]
    probabilities = np.nan_to_num(shares / np.sort(shares, 0).sum(0))  # in one order: ties tie
    prediction, label = logits.argmax(0)[label != 255], label[label != 255]
    pixels = np.arange(label.size)
    confidence, right = probabilities[prediction, pixels], prediction == label
    truth = np.eye(len(logits))[:, label]
    scores = dict(
        NLL=-np.log(probabilities[label, pixels].clip(np.finfo(float).tiny)).mean(),
        Brier=100 * ((probabilities - truth) ** 2).sum(0).mean(),
        ECE=0,
    )
    edges = np.linspace(0, 1, BINS + 1)
    edges[0] = -1
    for low, high in itertools.pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        scores['ECE'] += 100 * abs(right[inside].sum() - confidence[inside].sum()) / label.size
    sure, unsure = confidence[right], confidence[~right]
    scores |= dict(AUROC=np.nan, AUPR=np.nan, FPR95=np.nan)
    if unsure.size:
        below, wrong = rankdata(confidence, 'max')[~right], rankdata(unsure, 'max')
        scores['AUPR'] = 100 * (wrong / below).mean()
    if unsure.size and sure.size:
        ranks = rankdata(confidence)[right].sum() - sure.size * (sure.size + 1) / 2
        scores['AUROC'] = 100 * ranks / sure.size / unsure.size
        lowest = np.sort(sure)[::-1][int(np.ceil(0.95 * sure.size - 1e-9)) - 1]
        scores['FPR95'] = 100 * (unsure >= lowest).mean()
    return scores


def counted(logits, label, parts=1):
    """What the package counts, of an image or of several."""
    model, total = nn.Identity(), None
    for part, truth in zip(*(np.array_split(v, parts, -2) for v in (logits, label)), strict=True):
        part, truth = torch.from_numpy(part), torch.from_numpy(truth)
        prediction = torch.from_numpy(part.numpy().argmax(0))
        kept, right = truth != 255, prediction == truth
        scores = pixel_scores(model, part, prediction, truth)
        image = Confidences.of(scores[:, kept], right[kept])
        total = image if total is None else total + image
    return total


def broken():
    logits, label = drawn()
    logits[:, 10:20, ::2] = np.nan
    logits[1, 30:35] = np.inf
    return logits, label


def of_one_class():
    logits, label = drawn()
    return logits, np.where(label == 255, 255, 0)


def right_everywhere(turned=1):
    logits, _ = drawn()
    return logits, (turned * logits).argmax(0)


CASES = {
    'ordinary': drawn,
    'many pixels': lambda: drawn(3, (700, 600)),
    'many ties': lambda: (lambda logits, label: (logits.round(), label))(*drawn(scale=1)),
    'very confident': lambda: drawn(scale=40),
    'nearly uniform': lambda: drawn(19, (100, 300), scale=1e-3),
    'one class': of_one_class,
    'none wrong': right_everywhere,
    'all wrong': lambda: right_everywhere(-1),
    'not finite': broken,
}


@pytest.mark.parametrize('case', CASES)
def test_scores_equal_a_direct_computation(case):
    logits, label = CASES[case]()
    whole, parts = counted(logits, label), counted(logits, label, 4)
    assert (whole.dropped > 0) == (case == 'many pixels')
    result = Calibration.of(parts)
    scores = {key: getattr(result, key) for key in KEYS}
    assert scores == pytest.approx(direct(logits, label), abs=0.01, nan_ok=True)
    again = Calibration.of(whole)
    same = [np.array_equal(*pair, equal_nan=True) for pair in zip(result, again, strict=True)]
    assert all(same[:4] + same[6:])
    assert result.share.sum() == pytest.approx(1)
    assert np.nansum(result.share * abs(result.accuracy - result.confidence)) == pytest.approx(
        result.ECE / 100
    )


def test_an_example_by_hand():
    """Right at 0.9, 0.9, 0.6; wrong at 0.9, 0.6, 0.5."""
    shares = torch.tensor([0.9, 0.9, 0.6, 0.9, 0.6, 0.5], dtype=torch.float64)
    right = torch.tensor([True] * 3 + [False] * 3)
    result = Calibration.of(Confidences.of(shares.expand(3, -1), right))
    # the right ones are all at 0.6 or above
    expected = (2 * 2.5 + 1.5) / 9, (1 + 2 / 3 + 3 / 6) / 3, 2 / 3
    scores = result.AUROC, result.AUPR, result.FPR95
    assert scores == pytest.approx([100 * value for value in expected])
    assert result.accuracy[[7, 8, 13]] == pytest.approx([0, 0.5, 2 / 3])
    empty = Calibration.of(Confidences.of(torch.zeros(3, 0).double(), right[:0]))
    assert all(np.isnan(getattr(empty, key)) for key in KEYS)


def sample(logits, label=None, domain='fog', name='x.png'):
    made = SegDataSample(metainfo=dict(img_path=name, domain=domain))
    logits = torch.as_tensor(logits)
    made.seg_logits = PixelData(data=logits)
    made.pred_sem_seg = PixelData(data=logits.argmax(0, keepdim=True))
    if label is not None:
        made.gt_sem_seg = PixelData(data=torch.from_numpy(label.astype(np.uint8))[None])
    return made.to_dict()


def metric(**options):
    made = METRICS.build(dict(type='DomainIoUMetric', calibration=True, **options))
    made.dataset_meta = dict(classes=[f'class {index}' for index in range(5)])
    return made


def test_the_metric_scores_each_domain():
    logits, label = drawn()
    tested = metric()
    assert 'mean_FPR95' in tested.score_names(['fog', 'sky'])
    right = sample(logits, logits.argmax(0), 'sky')
    halves = (sample(logits[:, half], label[half]) for half in (slice(20), slice(20, None)))
    tested.process({}, [next(halves), right, *halves])
    scores, expected = tested.evaluate(3), direct(logits, label)
    for key in KEYS:
        assert scores[f'fog_{key}'] == pytest.approx(expected[key], abs=0.0101)
    assert scores['fog_NLL'] == round(expected['NLL'], 4)
    assert np.isnan(scores['sky_AUROC']) and scores['mean_AUROC'] == scores['fog_AUROC']
    assert tested.report['domains']['sky']['AUROC'] is None
    assert tested.report['mean']['ECE'] > 0 and tested.details == {}


def test_a_single_channel_is_the_probability_of_the_second_class():
    share = torch.tensor([[[0.9, 0.2, 0.4]]])
    made = sample(share, np.array([[1, 0, 1]]))
    made['pred_sem_seg']['data'] = (share > 0.3).long()
    tested = metric()
    tested.dataset_meta['classes'] = ['a', 'b']
    tested.process({}, [made])
    scores = tested.evaluate(1)
    assert scores['fog_Brier'] == pytest.approx(100 * 2 * (0.01 + 0.04 + 0.36) / 3, abs=0.01)
    assert scores['fog_ECE'] == pytest.approx(100 * (0.1 + 0.2 + 0.6) / 3, abs=0.01)


def test_confidences_are_written_beside_predictions(tmp_path):
    logits, _ = drawn()
    tested = metric(output_dir=str(tmp_path), format_only=True)
    tested.process({}, [sample(logits)])
    with pytest.raises(InputError, match=r'x\.png and x_conf\.png would both be written'):
        tested.process({}, [sample(logits, name='x_conf.png')])
    assert tested.evaluate(1) == {}
    confidence = np.asarray(Image.open(tmp_path / 'fog/x_conf.png'))
    expected = torch.from_numpy(logits).double().softmax(0).amax(0).numpy()
    assert confidence.dtype.itemsize > 1 and (tmp_path / 'fog/x.png').exists()
    assert np.abs((confidence + 0.5) / 2**16 - expected).max() < 1e-5


def test_what_calibration_cannot_use_is_refused():
    logits, label = drawn()
    made = sample(logits, label)
    wrong = sample(logits[:, 1:], label)
    del made['seg_logits']
    for one, message in (
        (made, 'gives no scores'),
        (wrong, 'sizes differ: seg_logits (5, 39, 50)'),
    ):
        with pytest.raises(InputError, match=r'^x\.png: .*' + re.escape(message)):
            metric().process({}, [one])
    augmented = SegTTAModel.__new__(SegTTAModel)
    nn.Module.__init__(augmented)
    with pytest.raises(InputError, match='leave --tta or calibration out'):
        metric().use_model(nn.Sequential(augmented))
    with pytest.raises(InputError, match='calibration must be True or False, got 1'):
        METRICS.build(dict(type='DomainIoUMetric', calibration=1))
