"""What the backbones that have become a network of timm share: their file, card and maps."""

from __future__ import annotations

import os

from torch import Tensor

from .timm_network import enlarge, plain
from .timm_weights import read_timm_file


class TimmMaps:
    """The part of a backbone that is a network of timm, and has its attributes and methods.

    Attributes:
        arch: Name of the network.
        timm_options: What ``timm.create_model`` was given beside it.
        stride: Pixels that the sides of an image must be a multiple of.
        out_indices: Which blocks or stages give a map.
    """

    def read_pretrained(self, path: str | os.PathLike, prefix: str = '') -> dict[str, Tensor]:
        """Read a file of pretrained weights, converted to this network's names and sizes.

        Args:
            path: The file.
            prefix: What the names of the backbone start with in it.

        Raises:
            FileNotFoundError: If there is no such file.
            CheckpointError: If it does not fit.
        """
        return read_timm_file(path, self.arch, self.timm_options, prefix)

    def describe(self) -> dict:
        """What a file of pretrained weights must be made for, as plain data for its card."""
        return {'arch': self.arch, 'timm_options': plain(self.timm_options)}

    @property
    def widths(self) -> list[int]:
        """Number of channels of each map."""
        return [self.feature_info[index]['num_chs'] for index in self.out_indices]

    def compute_maps(self, image: Tensor) -> list[Tensor]:
        """Compute the maps as the network has them.

        Args:
            image: Shape ``(n, 3, H, W)``. If H or W is no multiple of the stride, it is enlarged to
                the next one.

        Returns:
            One map for each of ``out_indices``, of shape ``(n, dim, h, w)``.
        """
        image = enlarge(image, self.stride)
        maps = self.forward_intermediates(
            image, indices=list(self.out_indices), stop_early=True, intermediates_only=True
        )
        return [features.contiguous() for features in maps]
