"""Packs predictions for the test servers of ACDC and Cityscapes."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from ..datasets.labels import CITYSCAPES_TO_TRAIN, TRAIN_TO_CITYSCAPES
from ..files import atomic_path
from ..progress import track

# Pictures of the test split below the dataset's folder, and the config that predicts them.
_SERVERS = {
    'acdc': ('rgb_anon/*/test/*/*_rgb_anon.png', 'acdc_server.py'),
    'cityscapes': ('leftImg8bit/test/*/*_leftImg8bit.png', 'citys_server.py'),
}


def pack_submission(server: str, predictions: Path, data: Path, out: Path) -> int:
    """Write the zip file that a test server wants.

    ACDC's wants train ids in ``labelTrainIds/``, Cityscapes' its own ids; both one file for each
    picture of the test split, of its size, with its name.

    Args:
        server: ``'acdc'`` or ``'cityscapes'``.
        predictions: Folder that ``tools/test.py --out`` wrote: ``<domain>/<picture>.png``, with
            Cityscapes ids.
        data: Folder of the dataset.
        out: The zip file.

    Returns:
        The number of predictions.

    Raises:
        FileNotFoundError: If there are no test pictures, or some have no prediction.
        ValueError: If a prediction is of another size than its picture or has other ids.
    """
    pattern, config = _SERVERS[server]
    pictures = sorted(data.glob(pattern))
    if not pictures:
        raise FileNotFoundError(f'no test pictures {pattern} in {data}')
    made = {path.name: path for path in predictions.glob('*/*.png')}
    if missing := [path.name for path in pictures if path.name not in made]:
        raise FileNotFoundError(
            f'{predictions} lacks the predictions of {len(missing)} of the {len(pictures)} test '
            f'pictures, {missing[0]} among them; make them with tools/test.py --test-data '
            f'configs/_base_/datasets/{config}'
        )
    with (
        atomic_path(out) as temporary,
        zipfile.ZipFile(temporary, 'w', zipfile.ZIP_STORED) as archive,  # PNG is compressed
    ):
        for picture in track(pictures, len(pictures), 'packing'):
            path = made[picture.name]
            content = path.read_bytes()
            ids = _check(path, content, picture)
            if server == 'acdc':
                buffer = io.BytesIO()
                Image.fromarray(CITYSCAPES_TO_TRAIN[ids]).save(buffer, 'png')
                archive.writestr(f'labelTrainIds/{path.name}', buffer.getvalue())
            else:
                archive.writestr(path.name, content)
    return len(pictures)


def _check(path: Path, content: bytes, picture: Path) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image, Image.open(picture) as original:
        if image.size != original.size:
            raise ValueError(
                '{} is {} x {} pixels, its picture {} x {}'.format(
                    path, *image.size, *original.size
                )
            )
        ids = np.array(image)
    if ids.ndim != 2 or not np.isin(np.unique(ids), TRAIN_TO_CITYSCAPES).all():
        raise ValueError(f'{path} holds other values than the 19 Cityscapes ids')
    return ids
