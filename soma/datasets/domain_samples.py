"""What datasets of a domain share: arguments that are checked, errors that name their files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from traceback import walk_tb
from typing import Any, ClassVar, get_args

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.dataset import Compose

from ..io.files import InputError
from ..utils.colours import colours_for
from .label_files import is_readable, why_unreadable
from .packed_files import is_packed

CHECK = 'tools/check_data.py CONFIG lists all that is wrong with the data'
# What wrong data makes of steps of these packages; of others it may be a fault of the program.
_OF_DATA = (ArithmeticError, AssertionError, OSError, SyntaxError, ValueError, cv2.error)
_PACKAGES = {'mmcv', 'mmdet', 'mmengine', 'mmseg', 'soma'}
_TYPES = {
    **dict.fromkeys(('domain', 'img_subdir', 'ann_subdir'), str),
    **dict(img_suffix=str | list | tuple | None, seg_map_suffix=str | None),
    **dict(ann_file=str, data_root=str | None, data_prefix=Mapping, ignore_index=int),
    **dict(reduce_zero_label=bool, indices=int | Sequence | None),
    'metainfo': Mapping | Config | None,
}


class DomainSamples:
    """Goes before mmseg's or mmdet's dataset among the base classes.

    Args:
        domain: Name of the domain, which is a folder's too where predictions are written.
        classes: Names of the classes, or a file of them, a name a line; in the place of
            ``metainfo``.
        palette: Their colours, (red, green, blue); in the place of ``metainfo``.
        **kwargs: As for the dataset.

    Attributes:
        PREFIXES: The keys that ``data_prefix`` may have.
        READS_PACKED: Whether its files may be packed.

    Raises:
        InputError: If an argument is of another type, the domain cannot be a folder's name, or the
            classes are no different names, with a colour each if they have a palette.
    """

    PREFIXES: ClassVar[tuple[str, ...]]
    READS_PACKED: ClassVar[bool] = False

    def __init__(
        self,
        domain: str,
        classes: Sequence[str] | str | None = None,
        palette: Sequence | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs = _as_text(kwargs)
        for key, value in {'domain': domain, **kwargs}.items():
            kind = _TYPES.get(key, object)
            if not isinstance(value, kind):
                kinds = ' or '.join(k.__name__ for k in get_args(kind) or (kind,))
                raise InputError(f'domain {domain!r}: {key} must be a {kinds}, got {value!r}')
        if domain in ('', '.', '..') or '/' in domain or not domain.isprintable():
            raise InputError(f'domain {domain!r} cannot be the name of a folder: choose another')
        for key, value in kwargs.get('data_prefix', {}).items():
            if key not in self.PREFIXES or not isinstance(value, str):
                raise InputError(
                    f'domain {domain}: data_prefix has {key}={value!r}, and takes a folder for '
                    f'each of {", ".join(self.PREFIXES)}'
                )
        root, prefixes = kwargs.get('data_root'), kwargs.get('data_prefix', {})
        if is_packed(root) and not self.READS_PACKED:
            raise InputError(f'domain {domain}: only a DomainDataset reads packed files ({root})')
        if root and not is_packed(root) and any(map(is_packed, prefixes.values())):
            raise InputError(f'domain {domain}: name the packed folder as data_root')
        self.domain = domain
        meta = dict(classes=_as_text(classes), palette=palette)
        if meta := {key: value for key, value in meta.items() if value is not None}:
            known = dict((kwargs.get('metainfo') or {}).items())
            if twice := ', '.join(key for key in meta if key in known):
                raise InputError(f'domain {domain}: metainfo names {twice} too: name them once')
            kwargs['metainfo'] = known | meta
        super().__init__(**kwargs)

    @classmethod
    def _load_metainfo(cls, metainfo: Mapping | None = None) -> dict:
        classes = (metainfo or {}).get('classes', ())
        if isinstance(classes, str) and '://' not in classes and not Path(classes).is_file():
            raise InputError(
                f'classes={classes!r} is neither a list of names nor a file of them, a name a '
                f'line: write [{classes}]'
            )
        meta = super()._load_metainfo(metainfo)
        classes = meta.get('classes', ())
        listed = isinstance(classes, Sequence) and not isinstance(classes, str) and len(classes)
        if not listed or not all(isinstance(name, str) and name.strip() for name in classes):
            raise InputError(f'classes must be a list of names, got {classes!r}')
        counts = Counter(map(str.lower, classes))
        if twice := [name for name in classes if counts[name.lower()] > 1]:
            raise InputError(f'classes must be different names, got {", ".join(twice)}')
        palette = (metainfo or {}).get('palette')
        return meta | {'classes': tuple(classes), 'palette': cls._colours(classes, palette)}

    @classmethod
    def _colours(cls, names: Sequence[str], palette: Any) -> Sequence:
        """The colours of the config; else those that the names have in METAINFO, or others."""
        if palette is None:
            pairs = (cls.METAINFO.get(key, ()) for key in ('classes', 'palette'))
            colours = dict(zip(*pairs, strict=False))
            return [colours.get(n, c) for n, c in zip(names, colours_for(names), strict=True)]
        if (
            not isinstance(palette, Sequence)
            or len(palette) != len(names)
            or any(not isinstance(colour, Sequence) or len(colour) != 3 for colour in palette)
            or any(value not in range(256) for colour in palette for value in colour)
        ):
            raise InputError(
                f'palette must be a list of {len(names)} colours, one a class, each of three '
                f'numbers from 0 to 255, got {palette!r}'
            )
        return palette

    def check_root(self) -> None:
        """Make sure that the data are where the config says.

        Raises:
            FileNotFoundError: If ``data_root`` is no folder.
        """
        root, below = self.data_root, filter(None, self.data_prefix.values())
        is_local = root and not self.backend_args and '://' not in root
        if is_local and not any(map(os.path.isdir, (root, *below))):
            raise FileNotFoundError(
                f'no folder {root} (data_root of the domain {self.domain}): name where the data '
                'are; docs/user_guides/datasets.md says what belongs there'
            )

    def prepare_data(self, idx: int) -> dict | None:
        """Load a sample and put it through the pipeline, as :meth:`run_pipeline`."""
        return self.run_pipeline(self.get_data_info(idx), self.pipeline)

    def run_pipeline(self, results: dict, pipeline: Compose) -> dict | None:
        """Put what is known of a sample through a pipeline.

        Raises:
            InputError: If one of its files cannot be used. Errors of a user's own steps stay what
                they are, unless the file to load cannot be read.
        """
        image, labels = results['img_path'], results.get('seg_map_path')
        both = f'{image} with labels {labels}' if labels else image
        for step in pipeline.transforms:
            name, file = type(step).__name__, labels if 'img' in results else image
            loads, labelled = name.startswith('Load') and file, 'gt_seg_map' in results
            kinds = Exception if loads else _OF_DATA  # broken bytes can raise anything
            try:
                results = step(results)
                if results is None:
                    return None
                if not labelled and 'gt_seg_map' in results:
                    self._check_labels(results)
            except InputError:
                raise
            except kinds as error:
                is_broken = loads and '://' not in file and not is_readable(Path(file))
                if _is_of_others(error, step) and not is_broken:
                    raise
                text = f'{file} {_reason(file, error)}' if loads else f'{name} {error}'
                hint = '' if is_packed(image) else f'; {CHECK}'
                raise InputError(f'{both}: {" ".join(text.split())}{hint}') from error
        return results

    def _check_labels(self, results: dict) -> None:
        """Look at a label map that was loaded just now."""


def _reason(file: str, error: Exception) -> str:
    """Why a file could not be loaded, without its name."""
    if '://' in file:  # a backend of mmengine has opened it
        return str(error).removeprefix(file)
    return why_unreadable(Path(file), error)


def _as_text(value: Any) -> Any:
    """A path as text, those in a dict too."""
    if isinstance(value, Mapping):
        return {key: _as_text(inner) for key, inner in value.items()}
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _is_of_packages(step: Any) -> bool:
    return type(step).__module__.partition('.')[0] in _PACKAGES


def _is_of_others(error: Exception, step: Any) -> bool:
    """Whether an error came from a step that is none of the packages', or through one inside it."""
    callers = (frame.f_locals.get('self') for frame, _ in walk_tb(error.__traceback__))
    steps = [step, *(caller for caller in callers if isinstance(caller, BaseTransform))]
    return not all(map(_is_of_packages, steps))


def check_label_map(results: dict, classes: int | None = None, ignore_index: int = 255) -> None:
    """Make sure that the label map of a sample is one of its image; a GPU would only abort.

    Args:
        results: The sample in its pipeline, perhaps with ``gt_seg_map``.
        classes: Number of classes; None where it is not known.
        ignore_index: Label of what does not count.

    Raises:
        InputError: If it has channels, another size or other values.
    """
    if (labels := results.get('gt_seg_map')) is None:
        return
    sizes = [tuple(results['ori_shape'][:2])] if 'ori_shape' in results else []
    if classes is None and 'img' in results:  # at the end, where both may have been cut
        sizes.append(results['img'].shape[:2])
    text = ''
    if labels.ndim != 2:
        text = f'are of shape {labels.shape}: they need one channel, rows and columns'
    elif sizes and labels.shape not in sizes:
        text = '{1} x {0} pixels, the image {3} x {2}'.format(*labels.shape, *sizes[0])
    elif classes is not None:
        wrong = labels[(labels >= classes) & (labels != ignore_index)]
        if wrong.size:
            shift = bool(results.get('reduce_zero_label'))
            values = ', '.join(str(int(value) + shift) for value in np.unique(wrong)[:5])
            text = f'hold {values}: neither one of the {classes} classes nor {ignore_index}'
    if text:
        image, file = results.get('img_path'), results.get('seg_map_path')
        raise InputError(f'{image} with labels {file}: the labels {text}; {CHECK}')
