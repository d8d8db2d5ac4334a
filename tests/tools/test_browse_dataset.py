import shutil
from pathlib import Path

import numpy as np
import pytest
from dataset_sheets import browse_dataset
from mmengine.config import Config
from PIL import Image

from soma.datasets import DomainVOCDataset


def panels(path, width):
    """The image and the drawn ground truth of a sheet, of 48 rows below the titles."""
    sheet = np.asarray(Image.open(path))
    top = round(12 * 1.6)  # what the titles take
    return [sheet[top : top + 48, x : x + width].astype(int) for x in (0, width + 6)]


def names(files):
    return [file.name for file in files]


def test_crops_of_training_with_the_colours_of_their_classes(config_file, run_here, tmp_path):
    run_here('misc/browse_dataset.py', config_file, '--number', '3')
    folder = tmp_path / 'elsewhere/work_dirs/tiny/browse'
    files = sorted(folder.iterdir())
    assert len(files) == 3 and all(file.name[-9:] == f'{file.name[1:6]}.png' for file in files)
    run_here('misc/browse_dataset.py', config_file, '--number', '3', '--out', 'again')
    for file in files:  # with the same seed, the same crops
        again = tmp_path / 'elsewhere/again' / file.name
        assert again.read_bytes() == file.read_bytes()
        image, ground_truth = (panel[:32] for panel in panels(file, 32))
        # bluish sky above, reddish building below: read in the order of the model's channels
        sky = image[..., 2] > 150
        building = image[..., 0] > 150
        assert sky.any() and building.any()
        for where, colour in ((sky, (70, 130, 180)), (building, (70, 70, 70))):
            expected = 0.4 * image[where] + 0.6 * np.array(colour)
            drawn = np.abs(ground_truth[where] - expected).max(-1) <= 1
            ignored = (ground_truth[where] == image[where]).all(-1)
            assert (drawn | ignored).all()
    other = browse_dataset(Config.fromfile(config_file), tmp_path / 'other', 'train', 3, seed=1)
    assert any(
        file.name not in names(files) or file.read_bytes() != (folder / file.name).read_bytes()
        for file in other
    )


def test_whole_images_of_every_domain_that_is_tested(config_file, tmp_path, street_data):
    config = Config.fromfile(config_file)
    files = browse_dataset(config, tmp_path / 'out', 'val')
    assert names(files) == [f'{i:06d}_{i % 4:05d}.png' for i in range(8)]
    for file in files:
        image, ground_truth = panels(file, 80)
        stored = np.asarray(Image.open(street_data / f'images/{file.name[7:]}'))
        assert np.array_equal(image, stored)
        assert np.array_equal(ground_truth[:2], image[:2])  # ignored
        assert (ground_truth[2:] != image[2:]).any(-1).mean() > 0.5


@pytest.mark.parametrize(('split', 'count'), [('train', 3), ('test', 6)])
def test_boxes(tiny_detector, tmp_path, split, count):
    files = browse_dataset(tiny_detector, tmp_path / 'out', split)
    assert len(files) == count
    bus, width = DomainVOCDataset.METAINFO['palette'][0], 64 if split == 'train' else 80
    for file in files:
        left = (6 + int(file.stem[-1])) * width // 80  # where the bus begins
        ground_truth = panels(file, width)[1]
        columns = np.flatnonzero((ground_truth == bus).all(-1).any(0))
        assert left - 1 <= columns.min() <= left + 1
        assert 36 * width // 80 - 1 <= columns.max() <= 36 * width // 80 + 1


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--number', '0'], '--number must be at least 1, got 0'),
        (['--cfg-options', 'train_dataloader=None'], 'the config has no train_dataloader'),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line(config_file, run_here, arguments, message):
    with pytest.raises(SystemExit, match=f'^error: {message}$'):
        run_here('misc/browse_dataset.py', config_file, *arguments)


def test_samples_that_cannot_be_used_do_not_stop_the_others(config_file, run_here, tmp_path):
    config = Config.fromfile(config_file)
    root = Path(shutil.copytree(config.train_dataloader.dataset.data_root, tmp_path / 'copy'))
    (root / 'images/00001.png').write_bytes(b'')
    Image.new('L', (80, 48), 77).save(root / 'labels/00003_labelTrainIds.png')
    option = f'train_dataloader.dataset.data_root={root}'
    message = r'^error: 2 of 4 samples are not drawn: .*00001\.png is empty.* labels hold 77: '
    with pytest.raises(SystemExit, match=message):
        run_here('misc/browse_dataset.py', config_file, '--out', 'out', '--cfg-options', option)
    files = sorted(path.name for path in (tmp_path / 'elsewhere/out').iterdir())
    assert files == ['000000_00000.png', '000002_00002.png']


def test_classes_without_colours(tiny_detector, tmp_path):
    """A plain dataset of mmdet may have none."""
    part = tiny_detector.train_dataloader.dataset
    part.update(type='XMLDataset', metainfo=dict(classes=('bus', 'car')))
    del part['domain']
    part.ann_file = str(Path(part.data_root, part.ann_file))
    files = browse_dataset(tiny_detector, tmp_path / 'out', 'train', 1)
    assert len(files) == 1


def test_nothing_is_written_among_the_images(config_file, run_here, street_data):
    before = sorted((street_data / 'images').iterdir())
    with pytest.raises(SystemExit, match=r'images is a folder of the data: choose another$'):
        run_here('misc/browse_dataset.py', config_file, '--out', street_data / 'images')
    assert sorted((street_data / 'images').iterdir()) == before
