import json
import pickle

import numpy as np
import pytest
import torch
from mmengine.registry import METRICS
from mmengine.structures import PixelData
from mmseg.datasets import CityscapesDataset
from mmseg.evaluation import IoUMetric
from mmseg.structures import SegDataSample
from PIL import Image
from two_processes import evaluate_in_two

from soma.evaluation import confusion_matrix
from soma.evaluation.report_hook import _tested_split
from soma.io.files import InputError

CITYSCAPES = CityscapesDataset.METAINFO['classes']
CLASSES = 5
META = dict(classes=[f'class {i}' for i in range(CLASSES)])


def image(rng, domain, classes=CLASSES, size=(6, 7)):
    label = rng.integers(0, classes, size)
    prediction = np.where(rng.random(size) < 0.5, label, rng.integers(0, classes, size))
    label[rng.random(size) < 0.2] = 255
    return domain, prediction, label


def sample(domain, prediction, label):
    made = SegDataSample(metainfo=dict(img_path='x.png', **({'domain': domain} if domain else {})))
    made.pred_sem_seg = PixelData(data=torch.from_numpy(prediction)[None])
    made.gt_sem_seg = PixelData(data=torch.from_numpy(label.astype(np.uint8))[None])
    return made.to_dict()


def evaluate(images, batch_size=1, **options):
    metric = METRICS.build(dict(type='DomainIoUMetric', **options))
    metric.dataset_meta = META
    for start in range(0, len(images), batch_size):
        metric.process({}, [sample(*p) for p in images[start : start + batch_size]])
    return metric.evaluate(len(images))


def reference(images, ignore=255):
    """The scores of one domain by loops over classes, from the definition."""
    prediction, label = (np.concatenate([p[i].ravel() for p in images]) for i in (1, 2))
    prediction, label = prediction[label != ignore], label[label != ignore]
    ious, accuracies = [], []
    for index in range(CLASSES):
        hits = sum(p == index and t == index for p, t in zip(prediction, label, strict=True))
        union = sum(p == index or t == index for p, t in zip(prediction, label, strict=True))
        if union:
            ious.append(hits / union)
        if (label == index).any():
            accuracies.append(hits / (label == index).sum())
    scores = dict(mIoU=np.mean(ious), aAcc=(prediction == label).mean(), mAcc=np.mean(accuracies))
    return {name: 100 * value for name, value in scores.items()}


@pytest.mark.parametrize('batch_size', [1, 3])
def test_scores_of_mixed_domains_equal_a_direct_loop(batch_size):
    rng = np.random.default_rng(0)
    # class 4 is neither in fog nor predicted there
    images = [image(rng, *which) for which in (('citys',), ('fog', 4), ('bdd',), ('citys',))]
    images += [image(rng, 'fog', 4, (3, 5)), image(rng, 'citys')]
    metrics = evaluate(images, batch_size)
    expected = {}
    for domain in ('citys', 'fog', 'bdd'):
        scores = reference([p for p in images if p[0] == domain])
        expected |= {f'{domain}_{name}': value for name, value in scores.items()}
    for key in ('mIoU', 'aAcc', 'mAcc'):
        means = [value for name, value in expected.items() if name.endswith(key)]
        expected[f'mean_{key}'] = np.mean(means)
    assert metrics == pytest.approx(expected, abs=0.005001)


def test_absent_classes_are_left_out_of_the_mean():
    label = np.array([[0, 0, 1, 255]])
    prediction = np.array([[0, 1, 1, 4]])  # what is predicted on ignored pixels does not count
    metrics = evaluate([('fog', prediction, label)])
    assert metrics == {
        **dict(fog_mIoU=50, fog_aAcc=66.67, fog_mAcc=75),
        **dict(mean_mIoU=50, mean_aAcc=66.67, mean_mAcc=75),
    }
    # class 2 is predicted where it is not: it counts, with nothing right
    metrics = evaluate([('fog', np.array([[0, 2, 1, 4]]), label)])
    assert metrics['fog_mIoU'] == 50 and metrics['fog_mAcc'] == 75


def test_another_ignore_index():
    label, prediction = np.array([[0, 3, 1]]), np.array([[0, 1, 1]])
    assert evaluate([('fog', prediction, label)], ignore_index=3)['mean_mIoU'] == 100


def test_one_domain_scores_as_in_mmseg():
    rng = np.random.default_rng(1)
    images = [image(rng, 'citys', 4) for _ in range(4)]
    expected = IoUMetric()
    expected.dataset_meta = META
    expected.process({}, [sample(*p) for p in images])
    expected = {f'citys_{name}': float(value) for name, value in expected.evaluate(4).items()}
    actual = evaluate(images)
    for key in ('mIoU', 'aAcc', 'mAcc'):
        assert actual.pop(f'mean_{key}') == actual[f'citys_{key}']
    assert actual == pytest.approx(expected, abs=0.011)


def test_domains_are_weighted_alike():
    right, wrong = (
        ('citys', np.array([[0]]), np.array([[0]])),
        ('fog', np.array([[1]]), np.array([[0]])),
    )
    assert evaluate([right] * 5 + [wrong])['mean_mIoU'] == 50


def test_a_sample_without_a_domain_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(KeyError, match=r'x\.png has no domain: use DomainDataset'):
        evaluate([image(rng, None)])


@pytest.mark.parametrize(
    ('prediction', 'label', 'message'),
    [
        ([[0, 5]], [[0, 1]], 'prediction holds 0 to 5, outside of the 5 classes'),
        ([[0, 1]], [[0, 6]], 'label holds 0 to 6'),
        ([[-1, 1]], [[0, 1]], 'prediction holds -1 to 1'),
        ([[0, 1, 2]], [[0, 1]], 'differ in shape'),
    ],
)
def test_classes_out_of_range_and_other_sizes_are_refused(prediction, label, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(np.array(prediction), np.array(label), CLASSES)


def test_confusion_matrix_has_labels_as_rows():
    counts = confusion_matrix(np.array([1, 1, 0, 2]), np.array([0, 0, 1, 255]), 3)
    assert counts.tolist() == [[0, 2, 0], [1, 0, 0], [0, 0, 0]]


def written(tmp_path, classes, prediction):
    """What the metric writes of a prediction, and the classes that its file names."""
    options = dict(output_dir=str(tmp_path / 'out'), format_only=True)
    metric = METRICS.build(dict(type='DomainIoUMetric', **options))
    metric.dataset_meta = dict(classes=classes)
    prediction = np.array(prediction)
    metric.process({}, [sample('fog', prediction, prediction)])
    with Image.open(tmp_path / 'out/fog/x.png') as image:
        return np.asarray(image), image.info.get('classes')


def test_predictions_are_written_by_domain(tmp_path):
    rng = np.random.default_rng(0)
    images = [image(rng, 'citys'), image(rng, 'fog')]
    evaluate(images, output_dir=str(tmp_path / 'out'))
    files = sorted(f for f in tmp_path.rglob('*') if f.is_file())
    assert files == [tmp_path / 'out' / domain / 'x.png' for domain in ('citys', 'fog')]
    for file, (_, prediction, _) in zip(files, images, strict=True):
        assert np.array_equal(np.asarray(Image.open(file)), prediction)


@pytest.mark.parametrize('kind', [tuple, list])
def test_cityscapes_ids_of_the_classes_of_cityscapes(tmp_path, kind):
    ids, classes = written(tmp_path, kind(CITYSCAPES), [[0, 1, 2, 18]])
    assert ids.tolist() == [[7, 8, 11, 33]] and ids.dtype == np.uint8 and classes is None


@pytest.mark.parametrize(
    ('classes', 'prediction', 'dtype'),
    [
        (['sky', 'road', 'car'], [[0, 1, 2]], np.uint8),
        (CITYSCAPES[::-1], [[0, 1, 18]], np.uint8),
        (CITYSCAPES[:18], [[0, 1, 17]], np.uint8),
        ([f'class {index}' for index in range(25)], [[0, 19, 24]], np.uint8),
        ([f'class {index}' for index in range(256)], [[0, 24, 255]], np.uint8),
        ([f'class {index}' for index in range(300)], [[0, 255, 299]], np.uint16),
    ],
)
def test_places_of_other_classes(tmp_path, classes, prediction, dtype):
    ids, names = written(tmp_path, classes, prediction)
    assert ids.tolist() == prediction and ids.dtype == dtype
    assert names == ', '.join(classes)


def test_a_class_that_the_data_does_not_have_is_refused(tmp_path):
    with pytest.raises(InputError, match='predicts class 25, the test data has 19 classes'):
        written(tmp_path, CITYSCAPES, [[0, 25]])


def test_the_ignore_index_of_the_dataset():
    metric = METRICS.build(dict(type='DomainIoUMetric'))
    metric.dataset_meta = dict(META, ignore_index=3)
    metric.process({}, [sample('fog', np.array([[0, 1, 1]]), np.array([[0, 3, 1]]))])
    assert metric.evaluate(1)['mean_mIoU'] == 100


def test_labels_out_of_range_are_named():
    with pytest.raises(InputError, match=r'^x\.png: label holds 0 to 77, outside .*check_data'):
        evaluate([('fog', np.array([[0, 1]]), np.array([[0, 77]]))])


@pytest.mark.parametrize('rank', [0, 1])
def test_a_folder_that_cannot_be_written_to_is_said_before_the_test(tmp_path, monkeypatch, rank):
    """By all processes, or the others would wait for the one."""
    monkeypatch.setattr('mmengine.dist.utils.get_rank', lambda group=None: rank)
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match=r'^nothing can be written to the folder .*file/out'):
        METRICS.build(dict(type='DomainIoUMetric', output_dir=str(tmp_path / 'file/out')))


def test_the_mean_is_over_the_domains_that_are_asked_for():
    rng = np.random.default_rng(0)
    images = [image(rng, domain) for domain in ('citys', 'fog', 'snow')]
    metrics = evaluate(images, mean_over=['fog', 'snow'])
    chosen = [metrics['fog_mIoU'], metrics['snow_mIoU']]
    assert metrics['mean_mIoU'] == pytest.approx(np.mean(chosen), abs=0.0101)
    assert 'citys_mIoU' in metrics
    with pytest.raises(ValueError, match=r"mean_over names \['mars'\], the domains are \['citys'"):
        evaluate(images, mean_over=['fog', 'mars'])


def test_a_domain_without_labels_is_left_out_of_the_mean():
    rng = np.random.default_rng(0)
    prediction = rng.integers(0, CLASSES, (3, 4))
    metrics = evaluate([image(rng, 'fog'), ('rain', prediction, np.full((3, 4), 255))])
    assert np.isnan(metrics['rain_mIoU']) and metrics['mean_mIoU'] == metrics['fog_mIoU']


def test_memory_does_not_grow_with_the_images():
    rng = np.random.default_rng(0)
    metric = METRICS.build(dict(type='DomainIoUMetric'))
    metric.dataset_meta = META
    sizes = []
    for count in (4, 40):
        for index in range(count):
            metric.process({}, [sample(*image(rng, ('citys', 'fog')[index % 2]))])
        sizes.append(len(pickle.dumps(metric.__dict__)))
    assert sizes[1] < sizes[0] + 20


def test_images_left_out_are_reported(monkeypatch):
    logged = []
    monkeypatch.setattr(
        'soma.evaluation.domain_metric.print_log', lambda text, **_: logged.append(text)
    )
    metric = METRICS.build(dict(type='DomainIoUMetric'))
    metric.dataset_meta = META
    metric.process({}, [sample(*image(np.random.default_rng(0), 'fog'))])
    metric.evaluate(5)
    assert 'the scores are of 1 images, and the dataset has 5' in logged[0]


def test_two_images_of_one_name_are_refused(tmp_path):
    metric = METRICS.build(dict(type='DomainIoUMetric', output_dir=str(tmp_path)))
    metric.dataset_meta = META
    made = [sample(*image(np.random.default_rng(0), 'fog')) for _ in range(2)]
    metric.process({}, [made[0], made[0]])  # padding
    made[1]['img_path'] = 'other/x.png'
    with pytest.raises(ValueError, match=r'x\.png and other/x\.png would both be written to'):
        metric.process({}, made[1:])


@pytest.mark.parametrize('wrong', ['fog', ['fog', 'fog'], 3, []])
def test_mean_over_must_be_a_list_of_domains(wrong):
    with pytest.raises(ValueError, match='must be a list of different domains'):
        METRICS.build(dict(type='DomainIoUMetric', mean_over=wrong))


def test_several_evaluations_do_not_mix():
    rng = np.random.default_rng(0)
    first, second = [image(rng, 'fog') for _ in range(3)], [image(rng, 'snow')]
    metric = METRICS.build(dict(type='DomainIoUMetric'))
    metric.dataset_meta = META
    for images in (first, second):
        metric.process({}, [sample(*p) for p in images])
        assert metric.evaluate(len(images)) == evaluate(images)
        assert [*metric.report['domains']] == [images[0][0]]


def test_predictions_alone(tmp_path):
    made = sample('fog', np.array([[0, 2]]), np.array([[0, 0]]))
    del made['gt_sem_seg']
    options = dict(type='DomainIoUMetric', format_only=True)
    metric = METRICS.build({**options, 'output_dir': str(tmp_path)})
    metric.process({}, [made])
    assert metric.evaluate(1) == {} and metric.report is None
    assert np.asarray(Image.open(tmp_path / 'fog/x.png')).tolist() == [[7, 11]]
    with pytest.raises(ValueError, match='format_only needs output_dir'):
        METRICS.build(options)


def test_report_is_written_with_a_chart(tiny_config, build_runner, tmp_path):
    tiny_config.default_hooks.report = dict(type='DomainReportHook')
    tiny_config.val_evaluator.mean_over = ['fog']
    tiny_config.test_evaluator.calibration = True
    runner = build_runner(tiny_config)
    runner.train()
    folder = tmp_path / 'work' / runner.timestamp
    report = json.loads((folder / 'domains_iter_4.json').read_text())
    assert report['mean_over'] == ['fog'] and [*report['domains']] == ['citys', 'fog']
    fog = report['domains']['fog']
    assert report['mean']['mIoU'] == fog['mIoU'] and fog['images'] == 4
    assert (
        'person' in fog['absent'] and fog['Acc']['person'] is None and 'road' not in fog['absent']
    )
    assert Image.open(folder / 'domains_iter_4.png').width > 500
    logged = runner.message_hub.get_scalar('val/fog_mIoU').current()
    assert logged == pytest.approx(fog['mIoU'], abs=0.01)
    assert 'ECE' not in fog and not [*folder.glob('*.html')]  # details are for a test
    metrics = runner.test()
    assert runner.test_evaluator.metrics[0].model is runner.model
    report = json.loads((folder / 'domains_test.json').read_text())
    fog, mean = report['domains']['fog'], report['mean']
    assert fog['ECE'] > 0 and mean['NLL'] == pytest.approx(metrics['mean_NLL'], abs=1e-4)
    assert report['tested']['model'] == 'WindowEncoderDecoder, DINOv2, FCNHead'
    assert report['split'] == 'validation'
    runner.cfg.test_dataloader.dataset.datasets[0].domain = 'rain'
    assert _tested_split(runner.cfg) == 'test'
    assert (folder / 'domains_test.csv').read_text().startswith('class,citys,fog,mean\nroad,')
    for name in ('confusion', 'reliability'):
        assert Image.open(folder / f'domains_test_{name}.png').width > 500
    page = (folder / 'report.html').read_text()
    assert page.count('<div class="caption">') == 8 and page.count('data:image/jpeg') == 32
    assert 'mIoU over the classes' in page and 'DINOv2' in page


def test_processes_with_uneven_and_padded_shards_are_exact(tmp_path, monkeypatch):
    """Seven images: one process has four, the other three, or a copy of the first as well."""
    rng = np.random.default_rng(3)
    domains = ['citys', 'citys', 'fog', 'bdd', 'fog', 'citys', 'citys']
    images = [image(rng, domain, 4 if domain == 'fog' else 5) for domain in domains]
    samples = [sample(*p) for p in images]
    for index, made in enumerate(samples):
        generator = torch.Generator().manual_seed(index)
        made['seg_logits'] = {'data': torch.randn(CLASSES, 6, 7, generator=generator)}
        made['img_path'] = f'folder/{9 - index}.png'
    monkeypatch.setattr('soma.evaluation.calibration._STEPS', 32)  # each process drops other bits
    options = dict(calibration=True, per_image=True)
    metric = METRICS.build(dict(type='DomainIoUMetric', **options))  # one for all cases
    metric.dataset_meta = META
    results = evaluate_in_two(lambda case: metric, samples, tmp_path)
    metric.process({}, samples)
    expected = metric.evaluate(7)
    assert expected.items() >= evaluate(images).items() and expected['fog_AUROC'] > 0
    assert [[count for count, *_ in result] for result in results] == [[4, 4, 4], [4, 4, 3]]
    by_image = metric.report['domains']['citys']['per_image']
    assert by_image['images'] == [f'folder/{index}.png' for index in (3, 4, 8, 9)]
    pixels = {key: np.array(by_image[key])[:, 3] for key in ('intersection', 'union', 'label')}
    last = confusion_matrix(*images[0][1:], CLASSES)  # of 9.png
    assert (pixels['intersection'] == last.diagonal()).all()
    assert (pixels['label'] == last.sum(1)).all()
    assert pixels['union'].sum() == 2 * last.sum() - last.trace()
    for _, metrics, report, logged in results[0] + results[1]:
        assert metrics == expected and report == metric.report
        assert logged and not any('counted twice' in text for text in logged)
