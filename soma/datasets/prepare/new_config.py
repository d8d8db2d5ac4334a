"""Writes the config of a training on a folder of one's own images."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pprint import pformat

import numpy as np

from ...io.files import InputError, atomic_path, check_folder
from ...utils.config import REPOSITORY, load_config
from ..lists import write_names
from .counts import Counts
from .own_boxes import OwnBoxes, find_coco
from .own_masks import OwnMasks

# Letter in the names of configs, number of blocks, name of the pretrained weights.
ARCHS = {
    'small': ('S', 12, 'dinov2_vits14'),
    'base': ('B', 12, 'dinov2_vitb14'),
    'large': ('L', 24, 'dinov2_vitl14'),
}
HEADS = ('semfpn', 'mask2former', 'linear')
_PUBLISHED = '{0}/{0}_dinov2-L_mask2former_gta2cbm_512x512.py'  # what a method is taken from
_BLOCKS, _STEPS = 24, 40000  # of its network, of its training
