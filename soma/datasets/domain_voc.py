"""Street images of one domain with boxes, in the layout of Pascal VOC."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

from mmdet.datasets import XMLDataset
from mmengine.registry import DATASETS

from ..io.files import InputError
from .domain_samples import CHECK, DomainSamples
from .labels import BOX_CLASSES
from .lists import read_names
from .voc_files import read_voc


@DATASETS.register_module()
class DomainVOCDataset(DomainSamples, XMLDataset):
    """Images of a domain, with boxes of the 7 classes of Diverse Weather.

    Boxes are read as mmdet reads Pascal VOC: corners count from 1 in the files and from 0 here, and
    objects of other classes are left out. Names of classes may have capitals and blanks around.

    Args:
        domain: Name of the domain, ``DC``, ``NC`` ...; each sample carries it as ``domain``.
        **kwargs: As for mmdet's ``XMLDataset``. ``data_prefix['sub_data_root']`` is the folder with
            ``JPEGImages`` and ``Annotations``; the lines of ``ann_file`` may have the suffix of the
            images, or not.

    Raises:
        InputError: As for :class:`DomainSamples`, or if there is no box to train on.
    """

    PREFIXES: ClassVar[tuple[str, ...]] = ('sub_data_root',)
    METAINFO: ClassVar[dict] = {
        'classes': BOX_CLASSES,
        'palette': [  # bright, for night images
            (70, 160, 255),
            (0, 215, 200),
            (255, 215, 0),
            (255, 120, 220),
            (255, 60, 60),
            (255, 140, 0),
            (165, 110, 255),
        ],
    }

    def list_files(self) -> list[dict]:
        """List the files of the samples, without reading them.

        Returns:
            One dict an image: its name (``img_id``), its ``file_name`` below ``sub_data_root`` and
            its ``xml_path``.

        Raises:
            FileNotFoundError: If there is no list, nothing in it, or no folder of images.
        """
        images = Path(self.sub_data_root, self.img_subdir)
        for kind, path in (('folder', images), ('list', self.ann_file)):
            if not os.path.exists(path):
                raise FileNotFoundError(
                    f'domain {self.domain}: no {kind} {path}; docs/user_guides/detection.md says '
                    'what belongs there'
                )
        names = read_names(self.ann_file, self.img_subdir, '.jpg')
        if not names:
            raise FileNotFoundError(f'domain {self.domain}: {self.ann_file} lists no image')
        return [
            {
                'img_id': name,
                'file_name': f'{self.img_subdir}/{name}.jpg',
                'xml_path': str(Path(self.sub_data_root, self.ann_subdir, f'{name}.xml')),
            }
            for name in names
        ]

    def load_data_list(self) -> list[dict]:
        """List the samples as mmdet makes them, with the ``domain``.

        Raises:
            FileNotFoundError: As for `list_files`, or if an XML file is missing.
            InputError: If an XML file cannot be read, or there is no box to train on.
        """
        self.cat2label = {name: label for label, name in enumerate(self.metainfo['classes'])}
        samples = [self.parse_data_info(files) for files in self.list_files()]
        if not self.test_mode and not any(sample['instances'] for sample in samples):
            raise InputError(
                f'domain {self.domain}: no image of {self.ann_file} has a box of the classes '
                f'{", ".join(self.metainfo["classes"])}; {CHECK}'
            )
        return samples

    def parse_data_info(self, img_info: dict) -> dict:
        """Read the boxes of an image, of the files that `list_files` gives.

        Raises:
            FileNotFoundError: If the XML file is missing.
            InputError: If it cannot be read, or has no size and the image cannot be read.
        """
        path = img_info['xml_path']
        try:
            return {**super().parse_data_info(img_info), 'domain': self.domain}
        except FileNotFoundError as error:
            missing = error.filename or path
            raise FileNotFoundError(f'domain {self.domain}: no file {missing}; {CHECK}') from error
        except OSError:
            raise
        except Exception as error:
            try:
                size, _ = read_voc(path)
            except ValueError as reason:
                text = f'{path} is no XML file of Pascal VOC: {reason} ({error}); {CHECK}'
                raise InputError(text) from error
            if size is None:  # then mmdet looks at the image
                image = Path(self.sub_data_root, img_info['file_name'])
                raise InputError(f'{image} cannot be read as an image; {CHECK}') from error
            raise  # the file is not to blame

    def _parse_instance_info(
        self, raw_ann_info: ElementTree.ElementTree, minus_one: bool = True
    ) -> list[dict]:
        known = {name.lower(): name for name in self._metainfo['classes']}
        for name in raw_ann_info.findall('object/name'):
            text = (name.text or '').strip()
            name.text = known.get(text.lower(), text)
        return super()._parse_instance_info(raw_ann_info, minus_one)
