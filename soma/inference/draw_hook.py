"""Draw what a test predicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import mmcv
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from PIL import Image

from ..datasets.places import check_samples
from ..io.files import InputError, atomic_path, check_folder
from .drawing import check_score, colours_of, draw_result, side_by_side
from .inferencer import result_of


@HOOKS.register_module()
class DrawPredictionsHook(Hook):
    """Write image, ground truth and prediction of each test sample to ``<out_dir>/<domain>``.

    Of data without domains, they come into ``out_dir`` itself. Without labels, the ground truth is
    left out. Its boxes are taken as metrics take them, in pixels of the image's file: the test
    pipeline loads them after it has resized the image.

    Args:
        out_dir: Folder to write to.
        score_thr: A detector's boxes with lower scores are not drawn.

    Raises:
        InputError: If ``score_thr`` is not from 0 to 1.
    """

    def __init__(self, out_dir: str, score_thr: float = 0.3) -> None:
        check_score(score_thr)
        self.out_dir = Path(out_dir)
        self.score_thr = score_thr

    def before_test(self, runner: Runner) -> None:
        """Make sure that each image can be drawn to a place of its own.

        Raises:
            InputError: If two images have one name and domain, one would be written over, or the
                folder cannot be written to.
        """
        self._by_domain = check_samples(runner.test_dataloader.dataset, self.out_dir)
        check_folder(self.out_dir)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs: Sequence = ()
    ) -> None:
        """Draw a batch.

        Raises:
            InputError: If the test pipeline leaves out the domain that the dataset gives.
        """
        meta = runner.test_dataloader.dataset.metainfo
        classes, palette = meta['classes'], colours_of(meta)
        for sample in outputs:
            domain = sample.get('domain', '')
            if not domain and self._by_domain:  # images of one name would be written over
                pack = 'PackDomainInputs or PackDomainDetInputs'
                raise InputError(
                    f'{sample.img_path} has lost its domain: the pipeline needs {pack}'
                )
            image = mmcv.imread(sample.img_path, channel_order='rgb')
            results = {'ground truth': result_of(sample, 'gt'), 'prediction': result_of(sample)}
            drawn = {
                name: draw_result(image, result, classes, palette, self.score_thr)
                for name, result in results.items()
                if result is not None
            }
            panels = {'image': image, **drawn}
            sheet = side_by_side([*panels.values()], [*panels], classes, palette)
            name = Path(sample.img_path).with_suffix('.png').name
            with atomic_path(self.out_dir / domain / name) as temporary:
                Image.fromarray(sheet).save(temporary)
