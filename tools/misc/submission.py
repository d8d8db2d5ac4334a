"""Packs predictions for the test servers of ACDC and Cityscapes."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from soma.datasets.label_files import stored_size
from soma.datasets.labels import CITYSCAPES_TO_TRAIN, TRAIN_TO_CITYSCAPES
from soma.io.files import InputError, atomic_path, check_output
from soma.utils.progress import track

# Images of the test split below the dataset's folder, their domain (None: the second folder of
# their path), and the config that predicts them.
_SERVERS = {
    'acdc': ('rgb_anon/*/test/*/*_rgb_anon.png', None, 'acdc_server.py'),
    'cityscapes': ('leftImg8bit/test/*/*_leftImg8bit.png', 'citys', 'citys_server.py'),
}


def pack_submission(server: str, predictions: Path, data: Path, out: Path) -> int:
    """Write the zip file that a test server wants.

    ACDC's wants train ids in ``labelTrainIds/``, Cityscapes' its own ids; both one file for each
    image of the test split, of its size, with its name.

    Args:
        server: ``'acdc'`` or ``'cityscapes'``.
        predictions: Folder that ``tools/test.py --out`` wrote: ``<domain>/<image>.png``, with
            Cityscapes ids.
        data: Folder of the dataset.
        out: The zip file.

    Returns:
        The number of predictions.

    Raises:
        FileNotFoundError: If there are no test images, or some have no prediction.
        CheckpointError: If ``out`` cannot be written.
        InputError: If a prediction is no image, of another size than its image or has other
            classes, or if two images have one name.
    """
    check_output(out, suffixes=('.zip',))
    pattern, domain, config = _SERVERS[server]
    images = sorted(path for path in data.glob(pattern) if not path.name.startswith('.'))
    if not images:
        raise FileNotFoundError(f'no test images {pattern} in {data}')
    made = {
        path: predictions / (domain or path.relative_to(data).parts[1]) / path.name
        for path in images
    }
    if len({path.name for path in images}) < len(images):
        raise InputError(f'some test images in {data} have one name, which the server forbids')
    if missing := [path for path in made.values() if not path.exists()]:
        raise FileNotFoundError(
            f'{len(missing)} of the {len(images)} test images have no prediction, such as '
            f'{missing[0]}; make them with tools/test.py --test-data '
            f'configs/_base_/datasets/{config}'
        )
    with (
        atomic_path(out) as temporary,
        zipfile.ZipFile(temporary, 'w', zipfile.ZIP_STORED) as archive,  # PNG is compressed
    ):
        for image, path in track(made.items(), len(made), 'packing'):
            content = path.read_bytes()
            ids = _check(path, content, image)
            if server == 'acdc':
                buffer = io.BytesIO()
                Image.fromarray(CITYSCAPES_TO_TRAIN[ids]).save(buffer, 'png')
                archive.writestr(f'labelTrainIds/{path.name}', buffer.getvalue())
            else:
                archive.writestr(path.name, content)
    return len(images)


def _check(path: Path, content: bytes, image: Path) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(content)) as prediction:
            ids, classes = np.array(prediction), prediction.info.get('classes')
    except Exception as error:  # broken bytes can raise anything
        raise InputError(f'{path} is damaged or no image') from error
    if classes:  # see DomainIoUMetric
        raise InputError(f'{path} has other classes than the 19 of Cityscapes: {classes}')
    size, image_size = ids.shape[1::-1], stored_size(image)
    if size != image_size:
        raise InputError('{} is {} x {} pixels, its image {} x {}'.format(path, *size, *image_size))
    if ids.ndim != 2 or not np.isin(np.unique(ids), TRAIN_TO_CITYSCAPES).all():
        raise InputError(f'{path} holds other values than the 19 Cityscapes ids')
    return ids
