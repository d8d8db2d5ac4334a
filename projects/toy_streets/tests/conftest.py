"""Small toy streets, and a toy foundation model that has learned next to nothing."""

import pytest

from soma.checkpoints import convert_dinov2_file
from soma.datasets.prepare.convert import convert_dataset
from soma.io.checkpoint_files import write_checkpoint
from toy_streets import DIVERSE_WEATHER_STYLES, DOMAIN_STYLES, write_toy_streets
from toy_streets.foundation import pretrain_toy


@pytest.fixture(scope='session')
def toy(tmp_path_factory):
    """A folder with ``data`` and ``checkpoints`` as the demos make them."""
    root = tmp_path_factory.mktemp('toy')
    data, weights = root / 'data' / 'toy', root / 'checkpoints'
    write_toy_streets(data, 2, (96, 64), domains=DOMAIN_STYLES, sources=['gta'], val_images=1)
    for name in ('gta', 'cityscapes', 'mapillary'):
        convert_dataset(name, data / name)
    weather = root / 'data' / 'toy_weather'
    write_toy_streets(weather, 4, (256, 128), domains=DIVERSE_WEATHER_STYLES, val_images=1)
    write_checkpoint(pretrain_toy(images=2, steps=2, batch=2), weights / 'pretrained.pth')
    convert_dinov2_file(
        weights / 'pretrained.pth', weights / 'dinov2_toy_converted.pth', (256, 256), 16
    )
    return root
