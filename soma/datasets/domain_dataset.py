"""Images of one domain with label maps: streets, or anything else."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from os.path import isdir
from typing import Any, ClassVar

from mmengine.dataset import Compose
from mmengine.fileio import list_dir_or_file
from mmengine.registry import DATASETS
from mmseg.datasets import CityscapesDataset

from ..io.files import InputError
from .domain_samples import DomainSamples, check_label_map
from .image_files import (
    SUFFIXES,
    find_images,
    find_labels,
    find_listed,
    leave_out_labels,
    list_files,
)
from .label_loading import with_reader
from .label_reader import reader_of_map, reader_of_values
from .lists import read_names
from .packed_files import is_packed


@DATASETS.register_module()
class DomainDataset(DomainSamples, CityscapesDataset):
    """Images of a domain, with labels of the 19 Cityscapes classes or of others.

    What the values of the label files are is said in one of these ways:

    - nothing: train ids of Cityscapes, 0 to 18;
    - ``classes``: places in this list, whatever the names are;
    - ``classes`` and ``label_map``: what ``label_map`` says;
    - ``metainfo=dict(classes=...)``, as with mmseg: where all names are Cityscapes', train ids,
      of which the others do not count; else places in the list.

    ``ignore_index`` is the label of what does not count. Mmseg's step ``LoadAnnotations`` reads
    label files so, wherever it stands in the pipeline: palette images or numbers of 1 to 16 bits,
    grey that is stored as colours, colours. An image is turned as its EXIF orientation says when it
    is loaded; labels that lie as it is stored are turned with it, if the sizes tell (not of square
    images, nor of half turns).

    Args:
        domain: Name of the domain, ``gta``, ``citys``, ``fog`` ...; each sample carries it as
            ``domain``.
        img_suffix: How image files end, ``'_leftImg8bit.png'``, or several such, in any case; by
            default as images do.
        seg_map_suffix: What label files have in the place of ``img_suffix``; by default ``.png``
            in any case.
        label_map: Class of each value, ``{0: 'water', 7: 'ship', 8: 'ship', 9: None}``, or of each
            colour, ``{(0, 0, 128): 'water'}``; None does not count, and ``'*'`` stands for all
            others, which are an error without it. ``'palette'``: the colours are those of
            ``palette``.
        **kwargs: ``classes`` and ``palette`` as for :class:`DomainSamples`, and what mmseg's
            ``BaseSegDataset`` takes. The lines of ``ann_file`` may have the suffix and the folder
            of the images, or not. Without ``seg_map_path`` in ``data_prefix`` there are no labels.

    Attributes:
        reader: Reads its label files.

    Raises:
        InputError: As for :class:`DomainSamples`, or if ``label_map`` is no such thing or beside
            ``reduce_zero_label``, there are more than 254 classes, ``ignore_index`` is no value
            that 8 bits hold or that of a class which was given to it, or two images differ in
            their suffix only.
    """

    PREFIXES: ClassVar[tuple[str, ...]] = ('img_path', 'seg_map_path')
    READS_PACKED: ClassVar[bool] = True

    def __init__(
        self,
        domain: str,
        img_suffix: str | Sequence[str] | None = None,
        seg_map_suffix: str | None = None,
        label_map: Mapping | str | None = None,
        **kwargs: Any,
    ) -> None:
        prefixes = kwargs.get('data_prefix')
        self._folder = str(prefixes.get('img_path', '')) if isinstance(prefixes, Mapping) else ''
        pipeline, lazy = kwargs.pop('pipeline', ()), kwargs.pop('lazy_init', False)
        if isinstance(img_suffix, list | tuple) and not all(isinstance(s, str) for s in img_suffix):
            raise InputError(f'domain {domain}: img_suffix must be of str, got {img_suffix!r}')
        super().__init__(
            domain=domain,
            img_suffix=img_suffix or None,
            seg_map_suffix=seg_map_suffix or None,
            lazy_init=True,
            **kwargs,
        )
        if kwargs.get('classes') is not None:
            self.label_map = None  # they are not chosen among known ones
        palettes = (kwargs.get('palette'), (kwargs.get('metainfo') or {}).get('palette'))
        try:
            self._read_by(label_map, has_palette=palettes != (None, None))
        except InputError as error:
            raise InputError(f'domain {domain}: {error}') from error
        self._metainfo['label_map'] = self.label_map
        if self.ignore_index != 255:
            self._metainfo['ignore_index'] = self.ignore_index  # for metrics
        self.pipeline = self.compose(pipeline)
        if not lazy:
            self.full_init()

    def _read_by(self, label_map: Mapping | str | None, has_palette: bool) -> None:
        """Make the reader, and mmseg's ``label_map`` for loaders that know it."""
        names, ignored = self._metainfo['classes'], self.ignore_index
        if ignored not in range(256) or len(names) > 254:
            raise InputError(
                'labels have 8 bits: ignore_index must be from 0 to 255, and classes at most 254; '
                f'got ignore_index={ignored} and {len(names)} classes'
            )
        is_mapped = label_map is not None or self.label_map or self.reduce_zero_label
        if is_mapped and ignored < len(names):
            raise InputError(
                f'ignore_index={ignored} is the label of {names[ignored]}, too: leave it out (255)'
            )
        if label_map is None:
            if self.label_map:
                known = self.label_map.items()
                self.label_map = {k: ignored if v == 255 else v for k, v in known}
            how = self.label_map, self.reduce_zero_label
            self.reader = reader_of_values(len(names), ignored, *how)
            return
        if self.reduce_zero_label:
            raise InputError('label_map says what 0 is: leave reduce_zero_label out')
        known = {*self.METAINFO.get('classes', ())} if 'palette' in self.METAINFO else set()
        has_palette = has_palette or known.issuperset(names)
        palette = self._metainfo['palette'] if has_palette else None
        self.reader = reader_of_map(label_map, names, palette, ignored)
        self.label_map = None
        if not self.reader.of_colours:
            rest = {} if self.reader.rest is None else dict.fromkeys(range(256), self.reader.rest)
            self.label_map = rest | self.reader.meanings

    def compose(self, pipeline: Sequence) -> Compose:
        """Build a pipeline whose loading of labels is this dataset's."""
        return Compose(with_reader(pipeline, self.reader))

    @classmethod
    def get_label_map(cls, new_classes: Sequence[str] | None = None) -> dict[int, int] | None:
        """As mmseg's; None if a name is not in ``METAINFO``: then the labels are places."""
        known = cls.METAINFO['classes']
        if any(name not in known for name in new_classes or ()):
            return None
        return super().get_label_map(new_classes)

    def load_data_list(self) -> list[dict]:
        """List the samples as mmseg makes them, with the ``domain``.

        Raises:
            FileNotFoundError: If there is no image, no file that is to list them, or no data root.
        """
        self.check_root()
        images, labels = (self.data_prefix.get(key) for key in ('img_path', 'seg_map_path'))
        pairs = self._listed() if self.ann_file else [*self.images().items()]
        if not pairs:
            suffixes = self.img_suffix or SUFFIXES
            suffixes = suffixes if isinstance(suffixes, str) else ', *'.join(suffixes)
            raise FileNotFoundError(
                f'domain {self.domain}: no *{suffixes} in {self.ann_file or images}; '
                'docs/user_guides/datasets.md says what belongs there'
            )
        of_labels, is_listed = {}, labels is not None and (is_packed(labels) or isdir(labels))
        if is_listed and self.seg_map_suffix is None:
            of_labels = find_labels(self._files(labels))
        samples = []
        for name, file in pairs:
            sample = {'img_path': os.path.join(images, file)}
            if labels is not None:
                label = of_labels.get(name, name + (self.seg_map_suffix or '.png'))
                sample['seg_map_path'] = os.path.join(labels, label)
            sample |= {'label_map': self.label_map, 'reduce_zero_label': self.reduce_zero_label}
            samples.append({**sample, 'seg_fields': [], 'domain': self.domain})
        return samples

    def images(self) -> dict[str, str]:
        """The images in the folder, in their order: files below it by their names in lists."""
        images, labels = (self.data_prefix.get(key) for key in ('img_path', 'seg_map_path'))
        files = self._files(images)
        if not isinstance(self.img_suffix, str):
            files = leave_out_labels(files, images, labels, self.seg_map_suffix)
        return find_images(files, self.img_suffix, images)

    def _files(self, folder: str) -> list[str]:
        if self.backend_args or '://' in folder:
            how = dict(list_dir=False, recursive=True, backend_args=self.backend_args)
            return sorted(list_dir_or_file(folder, **how))
        return list_files(folder) if isdir(folder) else []

    def _listed(self) -> list[tuple[str, str]]:
        suffix = self.img_suffix if isinstance(self.img_suffix, str) else ''
        try:
            names = read_names(self.ann_file, self._folder, suffix)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f'domain {self.domain}: no list {self.ann_file}; docs/user_guides/datasets.md '
                'says how to make one'
                + ('; or it was not packed' if is_packed(self.ann_file) else '')
            ) from error
        if suffix:
            return [(name, name + suffix) for name in names]
        return find_listed(names, self.images(), (self.img_suffix or SUFFIXES)[0])

    def _check_labels(self, results: dict) -> None:
        check_label_map(results, len(self._metainfo['classes']), self.ignore_index)
