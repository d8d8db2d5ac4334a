import numpy as np
import pytest
from episode_files import MASKS, episode_data, write_masks
from mmcv.transforms import BaseTransform
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DATASETS, init_default_scope
from mmseg.datasets import PascalVOCDataset
from torch.utils.data import DataLoader

import soma.datasets.label_pixels as counting
from soma.datasets import CocoMaskDataset, PascalMaskDataset
from soma.datasets.episodes import novel_labels
from soma.datasets.label_pixels import label_pixels
from soma.io.files import InputError


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_masks(tmp_path_factory.mktemp('voc'))


@pytest.fixture
def build(data):
    init_default_scope('mmseg')
    return lambda **options: DATASETS.build(episode_data(data, **options))


@pytest.mark.parametrize('fold', range(4))
def test_folds_are_those_of_the_protocols(fold):
    assert novel_labels(20, fold, 'blocks') == [5 * fold + k for k in (1, 2, 3, 4, 5)]
    assert novel_labels(80, fold, 'strided') == [c + 1 for c in range(80) if c % 4 == fold]


def test_classes_are_those_of_the_datasets():
    pascal, coco = (kind.METAINFO['classes'] for kind in (PascalMaskDataset, CocoMaskDataset))
    assert pascal == PascalVOCDataset.METAINFO['classes'] and pascal[0] == 'background'
    assert (len(pascal), len(coco)) == (21, 81)
    assert [pascal[label] for label in novel_labels(20, 3, 'blocks')] == [
        *('pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor')
    ]
    novel = [coco[label] for label in novel_labels(80, 0, 'strided')]
    assert novel[:4] == ['person', 'airplane', 'boat', 'parking meter']


@pytest.mark.parametrize(
    ('classes', 'fold', 'rule', 'message'),
    [
        (20, 4, 'blocks', 'fold must be a whole number from 0 to 3, got 4'),
        (20, True, 'blocks', 'fold must be'),
        (20, 'two', 'blocks', "fold must be .* 'two'"),
        (20, 0, 'random', "folds must be 'blocks' or 'strided', got 'random'"),
        (19, 0, 'blocks', '19 classes beside the background do not make 4 folds'),
    ],
)
def test_other_folds_are_refused(classes, fold, rule, message):
    with pytest.raises(InputError, match=message):
        novel_labels(classes, fold, rule)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(shots=0), 'shots must be a whole number of at least 1: 0'),
        (dict(episodes=2.5), 'episodes must be'),
        (dict(seed=-1), 'seed must be'),
        (dict(split='test'), "split must be 'base' or 'novel', got 'test'"),
        (dict(shots=4), r"4 of the 10 images .* min_pixels=20 pixels of 'c1' \(label 1\): .* 5"),
        (dict(min_pixels=900), "0 of the 10 images .* 'c1'"),
    ],
)
def test_wrong_options_are_refused(options, message, build):
    with pytest.raises(InputError, match=message):
        build(**options)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(data_prefix=dict(img_path='images')), 'dataset must be a DomainDataset with seg_map'),
        (dict(type='BaseSegDataset', domain=None), 'dataset must be a DomainDataset'),
        (dict(ignore_index=254), 'needs ignore_index=255, got 254'),
        (dict(reduce_zero_label=True), 'needs all of its classes, the background too'),
        (dict(type='PascalMaskDataset', metainfo=dict(classes=['cat', 'dog'])), 'all of its cl'),
    ],
)
def test_other_datasets_are_refused(options, message, data):
    init_default_scope('mmseg')
    config = episode_data(data)
    config['dataset'].update(options)
    config['dataset'] = {k: v for k, v in config['dataset'].items() if v is not None}
    with pytest.raises(InputError, match=message):
        DATASETS.build(config)


def test_an_episode_is_of_one_class_and_different_images(build, data):
    dataset = build(shots=2, episodes=60)
    assert len(dataset) == 60 and dataset.metainfo['episode_classes'] == ('c1', 'c2')
    seen = set()
    for index in range(60):
        label, images = dataset.draw(index)
        assert len({*images}) == 3 and dataset.draw(index) == (label, images)
        for image in images:
            assert (MASKS[image] == label).sum() >= 20
        seen |= {(label, image) for image in images}
    # all images that hold enough of it, and no others: image 9 has 19 pixels of class 1
    assert seen == {(1, 0), (1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (2, 4), (2, 5)}
    classes = [dataset.draw(index)[0] for index in range(400)]
    assert 0.4 < np.mean(np.array(classes) == 1) < 0.6
    assert [build(seed=1).draw(i) for i in range(9)] != [build().draw(i) for i in range(9)]


@pytest.mark.parametrize('split', ['base', 'novel'])
def test_all_but_the_class_is_background(split, build):
    dataset = build(split=split, shots=2, episodes=12)
    novel = {1, 2}
    for index in range(12):
        label, images = dataset.draw(index)
        assert (label in novel) == (split == 'novel')
        episode = dataset[index]
        samples = [episode['data_samples'], *(s['data_samples'] for s in episode['supports'])]
        assert [int(s.img_path[-5]) for s in samples] == images
        for sample, image in zip(samples, images, strict=True):
            labels = MASKS[image]
            expected = np.where(labels == 255, 255, labels == label)
            assert np.array_equal(sample.gt_sem_seg.data[0], expected)
        assert samples[0].class_name == f'c{label}'
        assert samples[0].domain == f'{index:06d}_c{label}'
        assert dataset.get_data_info(index)['domain'] == samples[0].domain
        assert dataset.get_data_info(index)['img_path'] == samples[0].img_path
    with pytest.raises(IndexError, match='there are 12 episodes, from 0, and none is 12'):
        dataset[12]


class Drop(BaseTransform):
    def transform(self, results):
        return None


def test_an_image_that_a_pipeline_drops_is_named(build):
    dataset = build(episodes=1)
    _, (query, support) = dataset.draw(0)
    dataset.support_pipeline = Compose([Drop()])
    with pytest.raises(InputError, match=rf'images/{support}\.png: the pipeline of episodes leav'):
        dataset[0]
    dataset.images.pipeline.transforms.pop(1)  # LoadAnnotations
    with pytest.raises(InputError, match=rf'images/{query}\.png: .* or its labels, out'):
        dataset[0]


def test_pipelines_of_query_and_supports(build):
    dataset = build(support_size=(8, 8), episodes=1)
    episode = dataset[0]
    assert episode['inputs'].shape == (3, 30, 40)
    (support,) = episode['supports']
    assert support['inputs'].shape == (3, 8, 8)
    assert support['data_samples'].gt_sem_seg.data.shape == (1, 8, 8)


def test_episodes_depend_on_neither_workers_nor_batches(build):
    dataset = build(shots=2, episodes=7)

    def files(batch_size, workers):
        loader = DataLoader(dataset, batch_size, num_workers=workers, collate_fn=pseudo_collate)
        return [
            (query.img_path, *(shot['data_samples'][place].img_path for shot in batch['supports']))
            for batch in loader
            for place, query in enumerate(batch['data_samples'])
        ]

    assert files(1, 0) == files(3, 2) and len(files(1, 0)) == 7


def test_counts_are_kept_until_a_file_changes(tmp_path, monkeypatch):
    root = write_masks(tmp_path)
    files = [str(path) for path in sorted((root / 'masks').iterdir())]
    kept = tmp_path / 'kept.npz'
    calls = []
    monkeypatch.setattr(
        counting, 'run_parallel', lambda f, jobs, title: calls.append(1) or [*map(f, jobs)]
    )
    expected = [[(labels == value).sum() for value in range(9)] for labels in MASKS]
    for _ in range(2):
        assert label_pixels(files, 9, kept).tolist() == expected and len(calls) == 1
    kept.write_bytes(kept.read_bytes()[:-30])
    assert label_pixels(files, 9, kept).tolist() == expected and len(calls) == 2
    assert label_pixels(files[:4], 9, kept).tolist() == expected[:4] and len(calls) == 3
    (root / 'masks/3.png').write_bytes((root / 'masks/0.png').read_bytes())
    assert label_pixels(files[:4], 9, kept).tolist() == [*expected[:3], expected[0]]
    (root / 'masks/3.png').write_text('no image')
    with pytest.raises(InputError, match=r'the label file .*/3\.png is no image'):
        label_pixels(files, 9, kept)
    (root / 'masks/3.png').unlink()
    with pytest.raises(InputError, match=r'the label file .*/3\.png is missing'):
        label_pixels(files, 9, kept)


def test_of_several_processes_the_first_counts(tmp_path, monkeypatch):
    root, sent, is_first = write_masks(tmp_path), [], [True]
    files = [str(root / 'masks/0.png')]

    def broadcast(objects):
        if is_first[0]:
            sent[:] = objects
        objects[:] = sent

    monkeypatch.setattr(counting, 'is_main_process', lambda: is_first[0])
    monkeypatch.setattr(counting, 'broadcast_object_list', broadcast)
    first = label_pixels(files, 9, tmp_path / 'counts.npz')
    is_first[0] = False
    assert label_pixels([], 9, tmp_path / 'none.npz') is first
    is_first[0] = True
    with pytest.raises(InputError, match='is missing'):
        label_pixels(['missing.png'], 9, tmp_path / 'counts.npz')
    is_first[0] = False
    with pytest.raises(InputError, match=r'missing\.png is missing'):
        label_pixels(files, 9, tmp_path / 'none.npz')


def test_where_nothing_can_be_kept_it_counts_each_time(tmp_path):
    root = write_masks(tmp_path)
    pixels = label_pixels([str(root / 'masks/0.png')], 9, root / 'images')  # a folder
    assert pixels.tolist() == [[(MASKS[0] == value).sum() for value in range(9)]]
