"""The step of a pipeline that loads the labels of a domain."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from mmengine import fileio
from mmengine.registry import TRANSFORMS
from mmseg.datasets.transforms import LoadAnnotations

from ..io.files import InputError
from .domain_samples import CHECK
from .label_reader import LabelError, LabelReader


class LoadDomainLabels(LoadAnnotations):
    """What a :class:`~.domain_dataset.DomainDataset` puts into the place of mmseg's step.

    Args:
        reader: That of the dataset.
        **options: As for mmseg's ``LoadAnnotations``; files are read by Pillow.

    Raises:
        InputError: If an option says something else than the dataset.
    """

    def __init__(self, reader: LabelReader, **options: Any) -> None:
        if options.get('imdecode_backend', 'pillow') != 'pillow':
            raise InputError('LoadAnnotations reads labels by Pillow: leave imdecode_backend out')
        super().__init__(**options)
        self.reader = reader

    def _load_seg_map(self, results: dict) -> None:
        file, image = results['seg_map_path'], results.get('img_path')
        if self.reduce_zero_label not in (None, results['reduce_zero_label']):
            raise InputError('reduce_zero_label is an option of the dataset: leave it out of steps')
        try:
            results['gt_seg_map'] = self.reader.read(
                self._content(file), results.get('ori_shape'), lambda: self._content(image)
            )
        except LabelError as error:
            raise InputError(f'{image} with labels {file}: the labels {error}; {CHECK}') from error
        results['seg_fields'].append('gt_seg_map')

    def _content(self, file: str) -> BytesIO:
        return BytesIO(fileio.get(file, backend_args=self.backend_args))


def with_reader(step: Any, reader: LabelReader) -> Any:
    """A pipeline, or a part of it, with this reader in each step that is mmseg's own loader."""
    if type(step) is LoadAnnotations:
        names = ('reduce_zero_label', 'backend_args', 'imdecode_backend')
        return LoadDomainLabels(reader, **{name: getattr(step, name) for name in names})
    if type(step) in (list, tuple):
        return type(step)(with_reader(part, reader) for part in step)
    if not isinstance(step, Mapping):
        return step
    result = copy.copy(step)
    for key, value in step.items():
        result[key] = with_reader(value, reader)
    if _is_loader(step.get('type')):
        result.update(type=LoadDomainLabels, reader=reader)
    return result


def _is_loader(kind: Any) -> bool:
    if isinstance(kind, str):
        with TRANSFORMS.switch_scope_and_registry(None) as registry:
            kind = registry.get(kind)
    return kind is LoadAnnotations
