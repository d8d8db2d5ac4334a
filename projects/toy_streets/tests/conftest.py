"""Small toy streets, and a toy foundation model that has learned next to nothing."""

import pytest

from soma.checkpoints import convert_dinov2_file
from soma.datasets.prepare.convert import convert_dataset
from soma.datasets.prepare.layouts import LAYOUTS
from soma.io.checkpoint_files import write_checkpoint
from toy_streets import DIVERSE_WEATHER_STYLES, DOMAIN_STYLES, write_toy_streets
from toy_streets.foundation import pretrain_toy

SEED = 5


@pytest.fixture(scope='session')
def toy(tmp_path_factory):
    """A folder with ``data`` and ``checkpoints`` as the demos make them."""
    root = tmp_path_factory.mktemp('toy')
    data, weights = root / 'data' / 'toy', root / 'checkpoints'
    sources = ['gta', 'synthia', 'urbansyn']
    report = write_toy_streets(data, 2, (96, 64), SEED, DOMAIN_STYLES, 1, 1, sources, test_images=1)
    # three sources; citys, bdd, map and four conditions to test on; the servers' have no labels
    assert report.images == 2 * 3 + 7 + 5
    for name in filter(lambda name: (data / name).exists(), LAYOUTS):
        assert not convert_dataset(name, data / name).failures
    weather = root / 'data' / 'toy_weather'
    write_toy_streets(weather, 4, (256, 128), domains=DIVERSE_WEATHER_STYLES, val_images=1)
    write_checkpoint(pretrain_toy(images=2, steps=2, batch=2), weights / 'pretrained.pth')
    convert_dinov2_file(
        weights / 'pretrained.pth', weights / 'dinov2_toy_converted.pth', (256, 256), 16
    )
    return root
