"""Images of one domain with boxes, in COCO's JSON."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from mmdet.datasets import CocoDataset
from mmengine.logging import print_log
from mmengine.registry import DATASETS
from PIL import Image

from ..io.files import InputError
from .coco_files import CocoFile, CocoImage, describe, read_coco, sort_boxes
from .domain_samples import CHECK, DomainSamples
from .label_files import shown_size, why_unreadable


@DATASETS.register_module()
class DomainCocoDataset(DomainSamples, CocoDataset):
    """Images of a domain, with boxes of any classes.

    Crowds are ignored boxes. Boxes thinner than a pixel or outside their image are left out, with
    a warning; masks are not read.

    Args:
        domain: Name of the domain; each sample carries it as ``domain``.
        ann_file: The JSON file below ``data_root``. One without ``annotations`` is good for
            predicting, with ``test_mode``.
        data_prefix: ``img`` is the folder that the names of the images count from.
        **kwargs: ``classes`` and ``palette`` as for :class:`DomainSamples`, and what mmdet's
            ``CocoDataset`` takes. The classes are all categories of the file by default, in the
            order of their ids; boxes of others than those given are left out.

    Attributes:
        category_ids: The file's category of each class; samples carry it, too.

    Raises:
        FileNotFoundError: If the file or an image is missing.
        InputError: As for :class:`DomainSamples`, or if something in the file cannot be used, a
            class is not in it, or there is no box to train on.
    """

    PREFIXES: ClassVar[tuple[str, ...]] = ('img',)

    def __init__(
        self,
        domain: str,
        ann_file: str = 'annotations.json',
        data_prefix: Mapping | None = None,
        lazy_init: bool = False,
        **kwargs: Any,
    ) -> None:
        prefix = dict(img='images/') if data_prefix is None else data_prefix
        options = dict(ann_file=ann_file, data_prefix=prefix, lazy_init=True)
        super().__init__(domain=domain, **options, **kwargs)
        self._file: CocoFile | None = None
        if 'classes' not in self._metainfo:
            self._file = self.read_file()
            names = [*self._file.categories.values()]
            self._metainfo = self._load_metainfo({**self._metainfo, 'classes': names})
        if not lazy_init:
            self.full_init()

    @classmethod
    def _load_metainfo(cls, metainfo: Mapping | None = None) -> dict:
        given = dict((metainfo or {}).items())
        # without classes, they are those of the file, which is not read yet
        return super()._load_metainfo(given) if 'classes' in given else given

    def read_file(self) -> CocoFile:
        """Read the JSON file, without looking at the images.

        Raises:
            FileNotFoundError: If there is none.
            InputError: If it is none of COCO's kind, or lacks one of the classes.
        """
        if not os.path.isfile(self.ann_file):
            raise FileNotFoundError(
                f'domain {self.domain}: no file {self.ann_file}; docs/user_guides/detection.md '
                'says what belongs there'
            )
        file = self._file or read_coco(self.ann_file)
        names = [*file.categories.values()]
        for name in self._metainfo.get('classes', ()):
            if name not in names:
                lower = {other.lower(): other for other in names}
                near = [lower[key] for key in get_close_matches(name.lower(), lower)]
                near = f'do you mean {" or ".join(near)}?' if near else f'it has {", ".join(names)}'
                raise InputError(f'{file.path} has no category {name!r}: {near}')
        return file

    def image_path(self, image: CocoImage) -> Path:
        """The file of an image."""
        return Path(self.data_prefix['img'], image.name)

    def load_data_list(self) -> list[dict]:
        """List the samples as mmdet makes them, with the ``domain``.

        Raises:
            FileNotFoundError: If an image is missing.
            InputError: If something in the file cannot be used, or there is no box to train on.
        """
        file, self._file = self.read_file(), None
        self._check(file)
        classes = self._metainfo['classes']
        ids = {name: identity for identity, name in file.categories.items()}
        self.category_ids = self.cat_ids = [ids[name] for name in classes]
        self.cat2label = {identity: label for label, identity in enumerate(self.cat_ids)}
        self.cat_img_map = defaultdict(list)  # for mmdet's filter_cfg
        left_out: dict[str, list[str]] = {}
        samples = [self._sample(image, file.categories, left_out) for image in file.images]
        for texts in left_out.values():
            images = f'{len(texts)} of {len(samples)} images have boxes that are left out'
            text = f'domain {self.domain}: {file.path}: {images}, such as {texts[0]}; {CHECK}'
            print_log(text, logger='current', level=logging.WARNING)
        if not self.test_mode and not self.cat_img_map.keys() & self.cat2label.keys():
            names = ', '.join(classes)
            raise InputError(
                f'domain {self.domain}: {file.path} has no box of the classes {names}; {CHECK}'
            )
        return samples

    def _check(self, file: CocoFile) -> None:
        if file.faults:
            more = f' (and {len(file.faults) - 1} more faults)' if len(file.faults) > 1 else ''
            raise InputError(f'{file.path}: {file.faults[0][1]}{more}; {CHECK}')
        if not file.images:
            raise InputError(f'domain {self.domain}: {file.path} lists no image')
        if not file.labelled and not self.test_mode:
            raise InputError(f'{file.path} has no annotations, which training needs')
        present = cache(lambda folder: set(os.listdir(folder)) if os.path.isdir(folder) else set())
        paths = ((image.name, self.image_path(image)) for image in file.images)
        missing = [name for name, path in paths if path.name not in present(path.parent)]
        if missing:
            below = Path(self.data_root or '', missing[0])
            hint = f"data_prefix=dict(img='') reads {below}" if below.exists() else CHECK
            raise FileNotFoundError(
                f'domain {self.domain}: {file.path} names {len(missing)} images that are not in '
                f'{self.data_prefix["img"]}, such as {missing[0]}; {hint}'
            )

    def _sample(self, image: CocoImage, names: Mapping, left_out: dict[str, list[str]]) -> dict:
        size = image.size or self._size_of(image)
        boxes, odd = sort_boxes(image.boxes, size)
        for kind in [kind for kind in ('no size', 'outside') if kind in odd]:
            text = describe(kind, odd[kind], names, size)
            left_out.setdefault(kind, []).append(f'{image.name}: {text}')
        annotations = [
            dict(category_id=b.category, bbox=b.box, area=b.box[2] * b.box[3], iscrowd=b.crowd)
            for b in boxes
        ]
        for identity in {box.category for box in boxes if not box.crowd}:
            self.cat_img_map[identity].append(image.id)
        info = dict(img_id=image.id, file_name=image.name, width=size[0], height=size[1])
        sample = self.parse_data_info(dict(raw_img_info=info, raw_ann_info=annotations))
        return {**sample, 'domain': self.domain}

    def _size_of(self, image: CocoImage) -> tuple[int, int]:
        path = self.image_path(image)
        try:
            with Image.open(path) as opened:
                return shown_size(opened)
        except Exception as error:  # broken bytes can raise anything
            raise InputError(f'{path} {why_unreadable(path, error)}; {CHECK}') from error

    def get_data_info(self, idx: int) -> dict:
        """What is known of a sample, with the ``category_ids`` of its file."""
        return {**super().get_data_info(idx), 'category_ids': self.category_ids}
