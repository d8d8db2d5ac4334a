import pickle
from itertools import chain
from multiprocessing.dummy import Pool

import numpy as np
import pytest
from mmdet.evaluation import VOCMetric, eval_map
from mmdet.structures.bbox import HorizontalBoxes
from two_processes import evaluate_in_two
from voc_images import CLASSES, META, build, evaluate, image, random_boxes, sample


@pytest.fixture(autouse=True)
def _threads(monkeypatch):
    """mmdet's function takes four processes for each domain; to start them takes its time."""
    monkeypatch.setattr('mmdet.evaluation.functional.mean_ap.Pool', Pool)


def reference(images, eval_mode='11points', iou_thr=0.5):
    """mmdet's mAP in percent, and what its function finds of each class."""
    metric = VOCMetric(iou_thrs=iou_thr, eval_mode=eval_mode)
    metric.dataset_meta = META
    metric.process({}, images)
    boxes, predicted = zip(*metric.results, strict=True)
    options = dict(eval_mode=eval_mode, use_legacy_coordinate=True, logger='silent')
    _, classes = eval_map(predicted, boxes, iou_thr=iou_thr, **options)
    return 100 * metric.evaluate(len(images))['pascal_voc/mAP'], classes


def check(images, domain, metrics, report, **options):
    expected, classes = reference(images, **options)
    entry = report['domains'][domain]
    assert metrics[f'{domain}_mAP'] == round(expected, 2)
    assert entry['mAP'] == expected and entry['images'] == len(images)
    for name, values in zip(CLASSES, classes, strict=True):
        there = values['num_gts'] > 0
        assert entry['boxes'][name] == values['num_gts']
        assert entry['detections'][name] == values['num_dets']
        assert entry['AP'][name] == (100 * float(values['ap']) if there else None)
        recall = values['recall'][-1] if values['num_dets'] else 0
        assert entry['recall'][name] == (100 * float(recall) if there else None)
        assert (name in entry['absent']) == (not there)
    return expected


@pytest.mark.parametrize('eval_mode', ['11points', 'area'])
@pytest.mark.parametrize('seed', [0, 1])
def test_each_domain_scores_as_in_mmdet(eval_mode, seed):
    rng = np.random.default_rng(seed)
    domains = ['DC', 'NC', 'DC', 'NC', 'DF', 'DC', 'NC']
    images = [image(rng, domain, str(i)) for i, domain in enumerate(domains)]
    metrics, report = evaluate(images, 1 + 2 * seed, eval_mode=eval_mode)
    expected = [
        check(
            [p for p in images if p['domain'] == domain],
            domain,
            metrics,
            report,
            eval_mode=eval_mode,
        )
        for domain in ('DC', 'NC', 'DF')  # the last has one image
    ]
    assert min(expected) > 15 and len(set(expected)) == 3  # there is something to compare
    assert metrics['mean_mAP'] == round(np.mean(expected), 2) and len(metrics) == 4


def test_another_threshold():
    rng = np.random.default_rng(0)
    images = [image(rng, 'DC', str(i)) for i in range(3)]
    metrics, report = evaluate(images, iou_thr=0.75)
    assert check(images, 'DC', metrics, report, iou_thr=0.75) != reference(images)[0]


def test_several_thresholds_are_averaged_as_in_mmdet():
    rng = np.random.default_rng(0)
    images = [image(rng, 'DC', str(i)) for i in range(2)]
    several, report = evaluate(images, iou_thr=[0.5, 0.75])
    each = [evaluate(images, iou_thr=thr)[1]['domains']['DC'] for thr in (0.5, 0.75)]
    metric = VOCMetric(iou_thrs=[0.5, 0.75])
    metric.dataset_meta = META
    metric.process({}, images)
    expected = 100 * metric.evaluate(len(images))['pascal_voc/mAP']
    assert several['DC_mAP'] == round(expected, 2) and each[0]['mAP'] > expected > each[1]['mAP']
    domain = report['domains']['DC']
    for name in CLASSES:
        assert domain['AP'][name] == pytest.approx(np.mean([entry['AP'][name] for entry in each]))
    assert domain['recall'] == each[0]['recall'] != each[1]['recall']


@pytest.mark.parametrize('eval_mode', ['11points', 'area'])
def test_what_is_absent_scores_as_in_mmdet(eval_mode):
    rng = np.random.default_rng(0)
    nothing = ((), (), ())
    cases = dict(
        classes=[image(rng, 'classes', str(i), classes=2) for i in range(2)],
        predictions=[sample('predictions', '3', nothing, ([1, 1], random_boxes(rng, 2)))] * 2,
        boxes=[image(rng, 'boxes', '5', objects=0, ignored=0)],
        difficult=[image(rng, 'difficult', '6', objects=0)],
        all=[sample('all', '7', nothing, ((), ()))],
        some=[image(rng, 'some', '8'), sample('some', '9', nothing, ((), ()))],
    )
    # class 3 is predicted, but only where it is not
    cases['classes'][0]['pred_instances']['labels'][:2] = 3
    metrics, report = evaluate([*chain(*cases.values())], eval_mode=eval_mode)
    result = [check(cases[n], n, metrics, report, eval_mode=eval_mode) for n in cases]
    assert result[0] > 0 and result[1:5] == [0] * 4
    assert report['domains']['classes']['absent'] == ['person', 'rider']
    assert metrics['mean_mAP'] == round(np.mean(result), 2)


def test_a_hand_made_case():
    """Two boxes of one class: found, found again, missed; a difficult one does no harm."""
    box, other, difficult = [10, 10, 29, 29], [50, 50, 69, 69], [80, 80, 99, 99]
    predicted = ([1, 1, 1], [box, difficult, box], [0.9, 0.8, 0.7])
    images = [sample('DC', 'x', predicted, ([1, 1], [box, other]), ([1], [difficult]))]
    metrics, report = evaluate(images)
    assert metrics['DC_mAP'] == round(100 * 6 / 11, 2)  # precision 1 up to a recall of one half
    entry = report['domains']['DC']
    assert entry['recall']['car'] == 50 and entry['detections']['car'] == 3
    assert evaluate(images, eval_mode='area')[0]['DC_mAP'] == 50


def test_boxes_of_mmdet_and_half_precision():
    rng = np.random.default_rng(0)
    plain = image(rng, 'DC', 'x')
    wrapped = {**plain, 'gt_instances': dict(plain['gt_instances'])}
    wrapped['gt_instances']['bboxes'] = HorizontalBoxes(plain['gt_instances']['bboxes'])
    wrapped['pred_instances'] = {
        key: value.bfloat16() if value.is_floating_point() else value  # small integers are exact
        for key, value in plain['pred_instances'].items()
    }
    wrapped.pop('ignored_instances')
    plain['ignored_instances'] = {}  # as packed without flags
    assert evaluate([wrapped])[0] == evaluate([plain])[0]


def test_what_is_kept_is_small():
    rng = np.random.default_rng(0)
    metric = build()
    sizes = []
    for detections in (300, 600):
        metric.process({}, [image(rng, 'DC', 'x', detections=detections)])
        metric._keep_newest()
        sizes.append(len(pickle.dumps(metric._domains)))
    assert sizes[1] - sizes[0] < 600 * 16 + 400


def test_the_mean_is_over_the_domains_that_are_asked_for():
    rng = np.random.default_rng(0)
    images = [image(rng, domain, 'x') for domain in ('DC', 'NC', 'DF')]
    metrics, report = evaluate(images, mean_over=['DF', 'NC'], prefix='voc')
    chosen = [report['domains'][domain]['mAP'] for domain in ('NC', 'DF')]
    assert metrics['voc/mean_mAP'] == round(np.mean(chosen), 2)
    assert report['mean_over'] == ['DF', 'NC'] and report['mean'] == {'mAP': np.mean(chosen)}
    assert 'voc/DC_mAP' in metrics
    with pytest.raises(ValueError, match=r"mean_over names \['NR'\], the domains are \['DC', "):
        evaluate(images, mean_over=['NC', 'NR'])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(mean_over='NC'), 'must be a list of different domains'),
        (dict(mean_over=['NC', 'NC']), 'must be a list of different domains'),
        (dict(eval_mode='101points'), "must be '11points' or 'area', got '101points'"),
        (dict(iou_thr=50), 'iou_thr must be above 0 and at most 1, got 50'),
        (dict(iou_thr=[0.5, 0]), r'iou_thr must be above 0 and at most 1, got \[0.5, 0\]'),
        (dict(iou_thr='0.5'), "iou_thr must be above 0 and at most 1, got '0.5'"),
        (dict(format_only=True), 'format_only needs output_dir'),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_unfit_samples_are_refused():
    fit = (([1], [[0, 0, 5, 5]], [0.5]), ([1], [[0, 0, 5, 5]]))
    message = r'x\.jpg has no domain: use DomainVOCDataset or DomainCocoDataset'
    with pytest.raises(KeyError, match=message):
        evaluate([sample(None, 'x', *fit)])
    unlabelled = sample('DC', 'x', *fit)
    unlabelled['gt_instances'] = {}  # as PackDetInputs leaves it without LoadAnnotations
    with pytest.raises(KeyError, match=r'x\.jpg has no boxes in gt_instances.*LoadAnnotations'):
        evaluate([unlabelled])
    for key, value in (('pred_instances', 4), ('gt_instances', -1), ('ignored_instances', 79)):
        wrong = sample('DC', 'x', *fit, fit[1])
        wrong[key]['labels'][:] = value
        with pytest.raises(ValueError, match=rf'{key} of .*x\.jpg hold classes {value} to {value}'):
            evaluate([wrong])


def test_table_and_warnings_are_logged(monkeypatch):
    rng = np.random.default_rng(0)
    images = [image(rng, 'DC', 'x', classes=3), image(rng, 'NC', 'x', objects=0)]
    logged = []
    for module in ('domain_voc', 'domain_metric'):
        monkeypatch.setattr(f'soma.evaluation.{module}.print_log', lambda t, **_: logged.append(t))
    metrics, report = evaluate(images, mean_over=['DC'])
    warning, table = logged  # and none of mmdet's tables
    assert warning == 'NC has no boxes to find: its mAP counts as 0'
    lines = table.splitlines()
    assert lines[0] == 'AP in percent' and lines[-2] == 'DC has no rider'
    assert lines[-1] == 'NC has no bus, car, person, rider'
    cells = [line.replace('│', ' ').replace('┃', ' ').split() for line in lines]
    assert ['class', 'DC', 'NC', 'mean', 'of', '1'] in cells
    car = f'{report["domains"]["DC"]["AP"]["car"]:.2f}'
    assert ['car', car, '-', car] in cells and ['rider', '-', '-', '-'] in cells
    average = f'{metrics["DC_mAP"]:.2f}'
    assert ['mAP', average, '0.00', average] in cells


def test_processes_with_uneven_and_padded_shards_are_exact(tmp_path):
    """Seven images: one process has four, the other three, or a copy of the first as well."""
    rng = np.random.default_rng(3)
    domains = ['DC', 'DC', 'NC', 'DF', 'NC', 'DC', 'DC']
    images = [image(rng, domain, str(i)) for i, domain in enumerate(domains)]
    results = evaluate_in_two(lambda case: build(output_dir=str(tmp_path / case)), images, tmp_path)
    expected, report = evaluate(images, output_dir=str(tmp_path / 'alone'))
    assert [[count for count, *_ in result] for result in results] == [[4, 4, 4], [4, 4, 3]]
    for _, metrics, own_report, logged in results[0] + results[1]:
        assert metrics == expected and own_report == report
        assert logged and not any('counted twice' in text for text in logged)
    for domain in ('DC', 'NC', 'DF'):
        files = {file.read_text() for file in tmp_path.glob(f'*/{domain}.json')}
        assert len(files) == 1 and len([*tmp_path.glob(f'*/{domain}.json')]) == 4
