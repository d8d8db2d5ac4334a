"""Packs predictions for the test servers of ACDC, Cityscapes and BRAVO."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from soma.datasets.image_files import SUFFIXES
from soma.datasets.label_files import stored_size
from soma.datasets.labels import CITYSCAPES_TO_TRAIN, TRAIN_TO_CITYSCAPES
from soma.io.files import InputError, atomic_path, check_output
from soma.utils.progress import track

# Images of the test split below the dataset's folder, and what predicts them.
_CONFIG = 'tools/test.py --test-data configs/_base_/datasets/{}'
_SERVERS = {
    'acdc': (('rgb_anon/*/test/*/*_rgb_anon.png',), _CONFIG.format('acdc_server.py')),
    'cityscapes': (('leftImg8bit/test/*/*_leftImg8bit.png',), _CONFIG.format('citys_server.py')),
    'bravo': (
        (
            'bravo_ACDC/*/test/*/*_rgb_anon.png',
            'bravo_SMIYC/RoadAnomaly21/images/*',
            *(f'bravo_{part}/*/*_leftImg8bit.png' for part in ('outofcontext', 'synflare')),
            'bravo_synobjs/*/*',
            'bravo_synrain/*/*_leftImg8bit.png',
        ),
        'the config of docs/user_guides/datasets.md, "Test servers"',
    ),
}


def pack_submission(server: str, predictions: Path, data: Path, out: Path) -> int:
    """Write the archive that a test server wants.

    ACDC's wants train ids in ``labelTrainIds/``, Cityscapes' its own ids; both one file for each
    image of the test split, of its size, with its name, in a zip file. BRAVO's tool wants a tar
    file with train ids, ``<image>_pred.png``, and confidences, ``<image>_conf.png``, in the folders
    of the images.

    Args:
        server: ``'acdc'``, ``'cityscapes'`` or ``'bravo'``.
        predictions: Folder that ``tools/test.py --out`` wrote: ``<domain>/<image>.png``, with
            Cityscapes ids. BRAVO's domains are called as the first two folders of an image,
            ``bravo_ACDC_fog``.
        data: Folder of the dataset.
        out: The archive.

    Returns:
        The number of predictions.

    Raises:
        FileNotFoundError: If there are no test images, or some have no prediction.
        CheckpointError: If ``out`` cannot be written.
        InputError: If a prediction is no image, of another size than its image or has other
            classes, or if two images have one name.
    """
    check_output(out, suffixes=('.tar',) if server == 'bravo' else ('.zip',))
    patterns, maker = _SERVERS[server]
    images = [image for pattern in patterns for image in _find(data, pattern)]
    made = {image: predictions / _domain(server, image.relative_to(data)) for image in images}
    made = {image: folder / f'{image.stem}.png' for image, folder in made.items()}
    names = {image: _name(server, image.relative_to(data)) for image in images}
    if min(len({*made.values()}), len({*names.values()})) < len(images):
        raise InputError(f'some test images in {data} have one name, which the server forbids')
    wanted = [*made.values()]
    if server == 'bravo':
        wanted += map(_confidence, made.values())
    if missing := [path for path in wanted if not path.exists()]:
        raise FileNotFoundError(
            f'{len(missing)} of the {len(wanted)} predictions of test images are not there, such '
            f'as {missing[0]}; make them with {maker}'
        )
    with atomic_path(out) as temporary, _archive(temporary) as add:
        for image, path in track(made.items(), len(made), 'packing'):
            content = path.read_bytes()
            ids = _check(path, content, image)
            if server != 'cityscapes':
                buffer = io.BytesIO()
                Image.fromarray(CITYSCAPES_TO_TRAIN[ids]).save(buffer, 'png')
                content = buffer.getvalue()
            add(names[image], content)
            if server == 'bravo':
                content = _confidence(path).read_bytes()
                if _read(_confidence(path), content, image)[0].dtype.itemsize == 1:
                    raise InputError(f'{_confidence(path)} has 8 bits, confidences have 16')
                add(names[image].replace('_pred.png', '_conf.png'), content)
    return len(images)


def _find(data: Path, pattern: str) -> list[Path]:
    images = sorted(
        path
        for path in data.glob(pattern)
        if not path.name.startswith('.') and path.suffix.lower() in SUFFIXES
    )
    if not images:
        raise FileNotFoundError(f'no test images {pattern} in {data}')
    return images


def _domain(server: str, image: Path) -> str:
    domains = {'acdc': image.parts[1], 'bravo': '_'.join(image.parts[:2])}
    return domains.get(server, 'citys')


def _name(server: str, image: Path) -> str:
    """What the server calls the prediction of an image, whose path is below the dataset's."""
    if server == 'bravo':
        return image.with_name(f'{image.stem}_pred.png').as_posix()
    return f'labelTrainIds/{image.name}' if server == 'acdc' else image.name


def _confidence(prediction: Path) -> Path:
    """As DomainIoUMetric writes it with calibration=True."""
    return prediction.with_name(f'{prediction.stem}_conf.png')


@contextmanager
def _archive(path: Path) -> Iterator[Callable[[str, bytes], None]]:
    """A function that adds a file to a new archive."""
    if path.suffix == '.zip':
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as archive:  # PNG is compressed
            yield archive.writestr
        return
    with tarfile.open(path, 'w') as archive:

        def add(name: str, content: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))

        yield add


def _read(path: Path, content: bytes, image: Path) -> tuple[np.ndarray, str | None]:
    """The values of a grey file ``(h, w)``, which has its image's size, and classes it names."""
    try:
        with Image.open(io.BytesIO(content)) as file:
            values, classes = np.array(file), file.info.get('classes')
    except Exception as error:  # broken bytes can raise anything
        raise InputError(f'{path} is damaged or no image') from error
    size, image_size = values.shape[1::-1], stored_size(image)
    if size != image_size:
        raise InputError('{} is {} x {} pixels, its image {} x {}'.format(path, *size, *image_size))
    if values.ndim != 2:
        raise InputError(f'{path} has colours, where one number a pixel belongs')
    return values, classes


def _check(path: Path, content: bytes, image: Path) -> np.ndarray:
    ids, classes = _read(path, content, image)
    if classes:  # see DomainIoUMetric
        raise InputError(f'{path} has other classes than the 19 of Cityscapes: {classes}')
    if not np.isin(np.unique(ids), TRAIN_TO_CITYSCAPES).all():
        raise InputError(f'{path} holds other values than the 19 Cityscapes ids')
    return ids
