"""Draw what a test predicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import mmcv
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from PIL import Image

from ..datasets.places import check_samples
from ..io.files import InputError, atomic_path, check_folder
from ..utils.colours import colours_of
from .drawing import check_score, draw_result, side_by_side
from .inferencer import result_of


@HOOKS.register_module()
class DrawPredictionsHook(Hook):
    """Draw image, ground truth and prediction of each test sample.

    They are written to ``<out_dir>/<domain>``, of data without domains to ``out_dir`` itself, and
    the first process can show its own in a window. Without labels, the ground truth is left out.
    Its boxes are taken as metrics take them, in pixels of the image's file: the test pipeline loads
    them after it has resized the image.

    Args:
        out_dir: Folder to write to; None writes nothing.
        score_thr: A detector's boxes with lower scores are not drawn.
        show: Whether a window shows them.
        wait_time: Seconds that it shows an image, 0 until the space key is pressed.

    Raises:
        InputError: If ``score_thr`` is not from 0 to 1, or nothing can be shown here.
    """

    def __init__(
        self,
        out_dir: str | None,
        score_thr: float = 0.3,
        show: bool = False,
        wait_time: float = 2.0,
    ) -> None:
        check_score(score_thr)
        self.out_dir = None if out_dir is None else Path(out_dir)
        self.score_thr = score_thr
        self.wait_time = wait_time
        self.window = None
        if show:
            import matplotlib.pyplot as plt  # here, since it takes its time

            if plt.get_backend().lower() == 'agg':  # what matplotlib takes if there is no other
                raise InputError(
                    '--show needs a display, and tkinter or another toolkit of windows: take '
                    '--show-dir FOLDER to have the images written'
                )
            self.window = Visualizer()

    def before_test(self, runner: Runner) -> None:
        """Make sure that each image can be drawn to a place of its own.

        Raises:
            InputError: If two images have one name and domain, one would be written over, or the
                folder cannot be written to.
        """
        folders = [] if self.out_dir is None else [self.out_dir]
        self._by_domain = check_samples(runner.test_dataloader.dataset, *folders)
        for folder in folders:
            check_folder(folder)

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
            if self.out_dir and self._by_domain and not domain:  # one name would be written twice
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
            if self.window is not None:
                self.window.show(sheet, f'{domain} {name}'.strip(), self.wait_time)
            if self.out_dir is None:
                continue
            with atomic_path(self.out_dir / domain / name) as temporary:
                Image.fromarray(sheet).save(temporary)
