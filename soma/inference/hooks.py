"""Draw what a test predicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import mmcv
import numpy as np
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from PIL import Image

from ..files import atomic_path
from .drawing import colour_overlay, side_by_side


@HOOKS.register_module()
class DrawPredictionsHook(Hook):
    """Write picture, truth and prediction of each test sample to ``<out_dir>/<domain>``.

    Without labels, the truth is left out.

    Args:
        out_dir: Folder to write to.
    """

    def __init__(self, out_dir: str) -> None:
        self.out_dir = Path(out_dir)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs: Sequence = ()
    ) -> None:
        """Draw a batch."""
        meta = runner.test_dataloader.dataset.metainfo
        palette = np.array(meta['palette'], np.uint8)
        for sample in outputs:
            image = mmcv.imread(sample.img_path, channel_order='rgb')
            maps = {'truth': sample.get('gt_sem_seg'), 'prediction': sample.pred_sem_seg}
            overlays = {
                name: colour_overlay(image, labels.data.squeeze(0).cpu().numpy(), palette)
                for name, labels in maps.items()
                if labels is not None
            }
            panels = {'picture': image, **overlays}
            sheet = side_by_side([*panels.values()], [*panels], meta['classes'], palette)
            name = Path(sample.img_path).with_suffix('.png').name
            with atomic_path(self.out_dir / sample.domain / name) as temporary:
                Image.fromarray(sheet).save(temporary)
