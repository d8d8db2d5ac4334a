"""Toy episodes: what is drawn, and that prototypes find objects of a class never trained on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from soma.datasets.lists import read_names
from soma.evaluation.episode_iou import EpisodeIoUMetric
from soma.evaluation.scores import confusion_matrix
from soma.io.files import InputError
from soma.utils.config import load_config
from toy_streets.episodes import CLASSES, draw_sample, write_toy_episodes

PROJECT = Path(__file__).parents[1]
SPLITS = ('train', 'test')
CONFIG = PROJECT / 'configs/fewshot/svf_dinov2-toy_prototype_toy5i-1shot_224x224.py'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp('episodes')
    write_toy_episodes(root / 'data/toy_episodes', 32, 1)
    return root


def test_layout_is_that_of_voc(folder):
    root = folder / 'data/toy_episodes'
    lists = [
        read_names(root / f'ImageSets/Segmentation/{n}.txt', '', '') for n in ('trainaug', 'val')
    ]
    assert [*map(len, lists)] == [32, 1]
    for name in lists[0] + lists[1]:
        assert (root / f'JPEGImages/{name}.jpg').is_file()
    name = lists[1][0]
    image, labels = draw_sample(np.random.default_rng([0, 0xE9, int(name)]))
    assert np.array_equal(Image.open(root / f'SegmentationClassAug/{name}.png'), labels)
    written = np.array(Image.open(root / f'JPEGImages/{name}.jpg')).astype(int)
    assert np.abs(written - image).mean() < 10
    assert len(CLASSES) == 20 and 1 <= len({*np.unique(labels)} - {0}) <= 3
    with pytest.raises(InputError, match='is not empty: name another folder'):
        write_toy_episodes(root, 1, 1)


@pytest.mark.slow
def test_prototypes_find_classes_never_trained_on(
    folder, tmp_path, monkeypatch, build_runner, no_charts
):
    monkeypatch.chdir(folder)
    options = {
        'work_dir': str(tmp_path),
        'log_level': 'WARNING',
        'visualizer': None,
        **dict.fromkeys(('val_cfg', 'val_dataloader', 'val_evaluator')),
        'train_dataloader.batch_size': 2,
        'train_cfg.max_iters': 5,
        'train_dataloader.dataset.min_pixels': 500,  # of so few images
        'test_dataloader.dataset.min_pixels': 500,
        'param_scheduler': [],
        **{f'{split}_dataloader.dataset.dataset.serialize_data': False for split in SPLITS},
        'test_dataloader.dataset.episodes': 8,
        'test_dataloader.dataset.dataset.ann_file': 'ImageSets/Segmentation/trainaug.txt',
    }
    runner = build_runner(load_config(CONFIG, options))
    dataset = runner.build_dataloader(runner.cfg.test_dataloader).dataset
    assert dataset.metainfo['episode_classes'] == CLASSES[:5]
    chance = EpisodeIoUMetric()
    chance.dataset_meta = dataset.metainfo
    for index in range(8):
        sample = dataset[index]['data_samples']
        labels = sample.gt_sem_seg.data.numpy()
        chance.results.append(
            (sample.class_name, confusion_matrix(np.ones_like(labels), labels, 2))
        )
    chance = chance.evaluate(8)['mIoU']  # of a guess that all is the class
    runner.model.init_weights()
    start = {name: value.clone() for name, value in runner.model.state_dict().items()}
    before = runner.test()['mIoU']
    runner.train()
    after = runner.test()['mIoU']
    changed = {n for n, v in runner.model.state_dict().items() if not torch.equal(v, start[n])}
    assert changed == {name for name in start if name.endswith('.S')} and len(changed) == 24

    assert before > 2 * chance and after > before + 1
