"""Which images of a dataset would be counted, or written, over each other."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from ..io.files import InputError


def check_samples(dataset: Any, *folders: str | os.PathLike, by_id: bool = False) -> bool:
    """Refuse test data that counts or writes an image over another, before it is predicted.

    Args:
        dataset: A dataset of images by domain; others pass.
        *folders: Where something of each image will be written, as
            ``<folder>/<domain>/<image>.png`` or under this name in a file of the domain.
        by_id: Whether images of a COCO file are named by their ids there.

    Returns:
        Whether there are domains.

    Raises:
        InputError: If an image is twice in a domain; with folders, if two images of a domain have
            one name, or an image or its labels would be written over.
    """
    place = cache(os.path.realpath)  # of folders, of which there are few
    inputs, named, images = {}, {}, set()
    for index in range(len(dataset) if hasattr(dataset, 'get_data_info') else 0):
        sample = dataset.get_data_info(index)
        domain, image = sample.get('domain', ''), Path(sample['img_path'])
        path = (place(image.parent), image.name)
        if (domain, path) in images:
            raise InputError(
                f'{image} is twice in the domain {domain!r}: it would count twice; name each '
                'dataset, and each image in a list, once'
            )
        images.add((domain, path))
        for file in filter(None, (image, sample.get('seg_map_path'))):
            inputs[place(os.path.dirname(file)), os.path.basename(file)] = file
        name = sample['img_id'] if by_id and 'category_ids' in sample else image.stem
        other = named.setdefault((domain, name), image)
        if folders and other != image:
            raise InputError(
                f'{other} and {image} would both be written as {domain}/{name} to '
                f'{folders[0]}: give their datasets different domains'
            )
    for folder in folders:
        for domain, name in named:
            file = inputs.get((place(os.path.join(folder, domain)), f'{name}.png'))
            if file is not None:
                raise InputError(f'{file} would be written over: name another folder than {folder}')
    return any(domain for domain, _ in named)
