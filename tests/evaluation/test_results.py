import csv

import numpy as np
import torch
from mmengine.registry import METRICS
from mmengine.structures import PixelData
from mmseg.models.segmentors import SegTTAModel
from mmseg.structures import SegDataSample
from PIL import Image
from torch import nn
from two_processes import evaluate_in_two
from voc_images import META as BOX_META
from voc_images import build, sample

from soma.evaluation.details import BoxSets, ImageScore, Maps, choose
from soma.evaluation.results import Results, save_results, save_table
from soma.evaluation.thumbnails import draw_box_sets, draw_maps
from soma.utils.page import Cell, Section, save_page

PALETTE = np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200]], np.uint8)
META = dict(classes=['a', 'b', 'c'], palette=PALETTE.tolist())


def segmented(index, domain, label, logits):
    made = SegDataSample(metainfo=dict(img_path=f'{index}.png', domain=domain))
    made.pred_sem_seg = PixelData(data=logits.argmax(0, keepdim=True))
    made.gt_sem_seg = PixelData(data=label[None])
    made.seg_logits = PixelData(data=logits)
    return made.to_dict()


def metric_with_details():
    metric = METRICS.build(dict(type='DomainIoUMetric'))
    metric.dataset_meta = META
    metric.keep_details(nn.Identity())
    return metric


def test_details_do_not_depend_on_the_number_of_processes(tmp_path):
    """Seven images in two processes, of which one takes the first over again."""
    images = []
    for index in range(7):
        label = torch.randint(0, 3, (6, 8), dtype=torch.uint8)
        logits = 2 * nn.functional.one_hot(label.long(), 3).movedim(2, 0) + torch.randn(3, 6, 8)
        images.append(segmented(index, 'fog' if index % 3 else 'citys', label, logits))

    class Reporting:
        """A metric whose report is what is looked at here."""

        def __init__(self, case=''):
            self.metric = metric_with_details()
            self.process = self.metric.process

        def evaluate(self, size):
            metrics, results = self.metric.evaluate(size), Results.of(self.metric)
            self.report = {
                name: (part.confusion.tolist(), part.calibration.ECE, sorted(part.images))
                for name, part in results.details.items()
            }
            self.report['thumbnails'] = sorted((k, v.packed) for k, v in results.thumbnails.items())
            return metrics

    alone = Reporting()
    alone.process({}, images)
    alone.evaluate(7)
    assert [len(part) for part in alone.report['fog'][2:]] == [4]
    assert len(alone.report['thumbnails']) == 7
    for results in evaluate_in_two(Reporting, images, tmp_path):
        for _, _, report, _ in results:
            assert report == alone.report


def test_an_image_is_scored_over_its_own_classes():
    label = torch.tensor([[0, 0, 1, 255]], dtype=torch.uint8)
    logits = nn.functional.one_hot(torch.tensor([[0, 2, 1, 1]]), 3).movedim(2, 0).float()
    metric = metric_with_details()
    made = segmented(0, 'fog', label, logits)
    metric.process({}, [made])
    metric.evaluate(1)
    (image,) = metric.details['fog'].images
    assert image == ('0.png', 75, 'mIoU 75.0')  # 1/2 of a, all of b; c is not there
    assert metric.report['domains']['fog']['ECE'] == metric.details['fog'].calibration.ECE
    augmented = SegTTAModel.__new__(SegTTAModel)  # whose scores are those of one view
    nn.Module.__init__(augmented)
    metric.keep_details(nn.Sequential(augmented))
    metric.process({}, [made])
    metric.evaluate(1)
    assert metric.details['fog'].calibration is None
    assert metric.details['fog'].images == [image]


def test_the_worst_and_the_median_are_chosen():
    images = [ImageScore(f'{index:02}', index, '') for index in np.random.permutation(31)]
    worst, median = choose([*images, ImageScore('none', np.nan, '')])
    assert [image.score for image in worst] == [*range(10)]
    assert [image.score for image in median] == [13, 14, 15, 16, 17]
    worst, median = choose([image for image in images if image.score < 17])
    assert [image.score for image in median] == [10]  # the others are among the worst


def test_thumbnails_show_what_is_wrong(tmp_path):
    Image.new('RGB', (8, 4), (100, 100, 100)).save(tmp_path / 'x.png')
    label, prediction = np.zeros((4, 8), np.int64), np.zeros((4, 8), np.int64)
    label[0], prediction[:, 4:] = -1, 2
    maps = Maps.of(label, prediction, -1)
    image, truth, predicted, wrong = draw_maps(str(tmp_path / 'x.png'), maps, PALETTE)
    assert (image == 100).all() and (truth[0] == 155).all()  # grey where nothing is labelled
    assert (truth[1:] == PALETTE[0]).all() and (predicted[:, 4:] == PALETTE[2]).all()
    red = wrong[..., 0] > wrong[..., 1].astype(int) + 50
    assert red.sum() == 12 and red[1:, 4:].all() and (wrong[0] < 50).all()
    large = Maps.of(np.zeros((500, 1000), np.uint8), np.zeros((500, 1000), np.int64), 255)
    assert large.shape == (2, 180, 360) and len(large.packed) < 2000


def test_boxes_show_what_is_missed(tmp_path):
    metric = build()
    metric.keep_details(nn.Identity())
    metric.dataset_meta = BOX_META
    truth = [0, 0, 1], [[0, 0, 9, 9], [20, 20, 29, 29], [0, 20, 9, 29]]
    # one finds the first, one finds it again, one is not sure enough
    found = [0, 0, 1], [[0, 0, 9, 9], [0, 1, 9, 9], [0, 20, 9, 29]], [0.9, 0.8, 0.2]
    metric.process({}, [sample('DC', 'x', found, truth)])
    metric.evaluate(1)
    results = Results.of(metric)
    assert [tuple(image) for image in results.details['DC'].images] == [
        ('folder/x.jpg', -3, '2 missed, 1 false')
    ]
    recall, precision = results.details['DC'].curves['bus']
    assert recall.tolist() == [0.5, 0.5] and precision.tolist() == [1, 0.5]
    page = tmp_path / 'report.html'
    save_results(tmp_path / 'domains_test', page, results, [('config', 'x')])
    text = page.read_text()
    assert '1 false · x.jpg<' in text and 'folder' not in text and '>Chart<' not in text
    ((_, sets),) = results.thumbnails.items()
    assert isinstance(sets, BoxSets)
    Image.new('RGB', (40, 40)).save(tmp_path / 'x.png')
    *_, errors = draw_box_sets(str(tmp_path / 'x.png'), sets, np.zeros((4, 3), np.uint8))
    assert errors[0, 5].tolist() == [40, 180, 80]  # found
    assert errors[20, 25].tolist() == errors[20, 5].tolist() == [230, 30, 40]  # missed
    assert errors[2, 5].tolist() == [255, 150, 0]  # false


def test_a_table_and_a_page(tmp_path):
    domains = {'DC': dict(AP=dict(car=50.0, bus=None), mAP=50.0)}
    domains['NC'] = dict(AP=dict(car=20.0, bus=10.0), mAP=15.0)
    report = dict(score='AP', domains=domains, mean_over=['DC', 'NC'], mean=dict(mAP=32.5))
    save_table(tmp_path / 'x.csv', report)
    assert [*csv.reader((tmp_path / 'x.csv').open())] == [
        ['class', 'DC', 'NC', 'mean'],
        ['car', '50.00', '20.00', '35.00'],
        ['bus', '', '10.00', '10.00'],
        ['mAP', '50.00', '15.00', '32.50'],
    ]
    rows = [('<b>', [Cell.of(12.345, -1), Cell.of(5, 0.0), Cell.of(np.nan)])]
    section = Section('s', columns=['c', 'd', 'e', 'f'], rows=rows)
    save_page(tmp_path / 'x.html', 'a & b', [], [], [section])
    text = (tmp_path / 'x.html').read_text()
    assert '&lt;b&gt;' in text and 'a &amp; b' in text and 'http' not in text
    assert 'data-value="12.35"' in text or 'data-value="12.34"' in text
    assert '<span class="bad">-1.00</span>' in text and '<td>-</td>' in text
    assert '<span class="same">0.00</span>' in text
