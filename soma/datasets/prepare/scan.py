"""Finds the images of a folder and what belongs to them."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ...io.files import InputError
from ...utils.config import REPOSITORY, path_from
from ..image_files import SUFFIXES, list_files

# Names of folders and ends of names by which people tell images and masks apart.
_IMAGE_FOLDERS = {'images', 'image', 'imgs', 'img', 'img_dir', 'jpegimages', 'leftimg8bit', 'rgb'}
_MASK_FOLDERS = {
    'masks',
    'mask',
    'labels',
    'label',
    'annotations',
    'ann',
    'ann_dir',
    'gt',
    'gtfine',
    'segmentation',
    'segmentationclass',
    'seg',
}
_KINDS = _IMAGE_FOLDERS | _MASK_FOLDERS
_MASK_TAILS = ('_labelTrainIds', '_mask', '-mask', '.mask', '_label', '_gt', '_seg')
_SPLITS = {
    **dict.fromkeys(('train', 'training'), 'train'),
    **dict.fromkeys(('val', 'valid', 'validation'), 'val'),
    **dict.fromkeys(('test', 'testing'), 'test'),
}


class _File(NamedTuple):
    """An image file of a folder.

    Attributes:
        prefix: Its folders up to the one that says images or masks, and a split.
        below: Its folders after that.
        stem: Its name without suffix, and without what says that it is a mask.
        tail: What was left out of the name, with the suffix.
        kind: ``image`` or ``mask`` if folder or name say it, else ''.
        split: ``train``, ``val``, ``test`` or ''.
    """

    prefix: tuple[str, ...]
    below: tuple[str, ...]
    stem: str
    tail: str
    kind: str
    split: str

    @property
    def name(self) -> str:
        """Its name below the prefix, without the tail."""
        return '/'.join((*self.below, self.stem))

    def below_root(self, root: Path) -> Path:
        """The file."""
        return Path(root, *self.prefix, *self.below, self.stem + self.tail)


class Sample(NamedTuple):
    """An image and its mask.

    Attributes:
        name: Name below the folder of the images, without suffix.
        image: The file.
        mask: The file of the mask.
    """

    name: str
    image: Path
    mask: Path


@dataclass
class Pairs:
    """Images with masks of one split.

    Attributes:
        images: Their folder, below the root.
        masks: The folder of the masks, below the root.
        mask_tail: What the names of masks have behind those of images, with the suffix; '' if they
            differ in the suffix only.
        samples: The pairs.
        alone: Files in these folders that have no partner.
    """

    images: str
    masks: str
    mask_tail: str
    samples: list[Sample] = field(default_factory=list)
    alone: list[Path] = field(default_factory=list)

    @property
    def options(self) -> dict:
        """The arguments of a ``DomainDataset`` that say where images and masks are."""
        options = dict(data_prefix=dict(img_path=self.images, seg_map_path=self.masks))
        if self.mask_tail:
            options['seg_map_suffix'] = self.mask_tail
        elif self.images == self.masks:
            options['img_suffix'] = sorted({s.image.suffix.lower() for s in self.samples})
        return options


def find_pairs(root: Path) -> dict[str, Pairs]:
    """Find images and their masks, which have one stem.

    They stand in folders such as ``images`` and ``masks``, with folders ``train`` and ``val`` above
    or below, or beside each other: ``a.jpg`` and ``a.png`` or ``a_mask.png``.

    Args:
        root: The folder.

    Returns:
        The pairs by split: ``train``, ``val``, ``test`` or ''.

    Raises:
        FileNotFoundError: If there is no such folder.
        InputError: If no image has a mask, two could be the mask of one, or the folders differ.
    """
    files = list_files(root)
    groups = defaultdict(list)
    for path in map(Path, files):
        if path.suffix.lower() in SUFFIXES:
            file = _read_name(path)
            groups[file.split, file.below, file.stem].append(file)
    parts: dict[str, Pairs] = {}
    alone = defaultdict(list)
    for (split, *_), group in sorted(groups.items()):
        image, mask = _tell_apart(root, group)
        if image is None or mask is None:
            file = image or mask
            alone['/'.join(file.prefix)].append(file.below_root(root))
            continue
        tail = '' if Path(f'a{mask.tail}').suffix == mask.tail else mask.tail
        place = '/'.join(image.prefix), '/'.join(mask.prefix), tail
        part = parts.setdefault(split, Pairs(*place))
        if place != (part.images, part.masks, part.mask_tail):
            first, second = part.samples[0], image.below_root(root)
            raise InputError(
                f'{root} has pairs of several kinds, {first.image} with {first.mask} and {second} '
                f'with {mask.below_root(root)}: name a folder with one kind'
            )
        part.samples.append(Sample(image.name, image.below_root(root), mask.below_root(root)))
    if not parts:
        raise InputError(_why_no_pairs(root, files, {stem for *_, stem in groups}))
    for part in parts.values():
        folders = dict.fromkeys((part.images, part.masks))
        part.alone = [file for folder in folders for file in alone[folder]]
    return parts


def _why_no_pairs(root: Path, files: list[str], images: set[str]) -> str:
    """Say what is in a folder that has no pairs."""
    stems = defaultdict(set)
    for file in map(Path, files):
        stems[file.suffix.lower()].add(file.stem)
    if images & stems['.txt']:
        script = path_from(REPOSITORY / 'tools/convert_datasets/yolo.py', Path.cwd())
        return (
            f"{root} seems to have boxes of YOLO: 'python {script} {root}' makes COCO's JSON of "
            'them, then run this again'
        )
    if images & stems['.xml']:
        return (
            f'{root} seems to have boxes of Pascal VOC: DomainVOCDataset reads them, see '
            'docs/user_guides/detection.md; or export JSON as COCO has it'
        )
    hint = ', as images/a.jpg has masks/a.png, or a.jpg has a.png or a_mask.png beside it'
    if images & stems['.json']:
        hint += "; JSON beside images is not read: export masks, or boxes in COCO's JSON"
    return f'{root}: none of {len(images)} images has a mask of its name{hint}'


def split_of(path: Path) -> str:
    """The split that folders or the name of a file say: ``train``, ``val``, ``test`` or ''."""
    words = [word for part in path.parts for word in re.split(r'[^a-z]+', part.lower())]
    return next((_SPLITS[word] for word in words if word in _SPLITS), '')


def _read_name(path: Path) -> _File:
    """What folders and name say of a file."""
    folders = path.parts[:-1]
    words = [name.lower() for name in folders]
    split_at = next((i for i, word in enumerate(words) if word in _SPLITS), None)
    marks = [i for i, word in enumerate(words) if word in _KINDS or i == split_at]
    end = max(marks, default=-1) + 1
    kind = next(('mask' if w in _MASK_FOLDERS else 'image' for w in words if w in _KINDS), '')
    stem, tail = path.stem, path.suffix
    for end_of_mask in _MASK_TAILS:
        if stem.lower().endswith(end_of_mask.lower()) and kind != 'image':
            cut = len(stem) - len(end_of_mask)
            stem, tail, kind = stem[:cut], stem[cut:] + tail, 'mask'
            break
    split = '' if split_at is None else _SPLITS[words[split_at]]
    return _File(folders[:end], folders[end:], stem, tail, kind, split)


def _tell_apart(root: Path, files: list[_File]) -> tuple[_File | None, _File | None]:
    """The image and the mask among files of one stem; None for what is missing."""
    masks = [file for file in files if file.kind == 'mask']
    images = [file for file in files if file.kind != 'mask']
    if not masks and len(images) == 2:  # beside each other
        images.sort(key=lambda file: file.tail.lower() == '.png')
        if images[1].tail.lower() == '.png' != images[0].tail.lower():
            masks = [images.pop()]
    if len(images) > 1 or len(masks) > 1:
        names = ', '.join(str(f.below_root(root)) for f in (images if len(images) > 1 else masks))
        raise InputError(f'{names} have one name: which belongs to which? Rename one')
    return (images[0] if images else None), (masks[0] if masks else None)
