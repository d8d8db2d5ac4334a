"""Keeps all predictions of a test in a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.evaluator import DumpResults
from mmengine.fileio import dump
from mmengine.registry import METRICS

from ..io.files import atomic_path, check_output

SUFFIXES = ('.pkl', '.pickle')


@METRICS.register_module()
class DumpPredictions(DumpResults):
    """Pickle the predictions, as mmdet's ``DumpDetResults`` does, whole or not at all.

    A list of a dict an image, in the dataset's order: ``pred_instances`` (``bboxes``, ``scores``,
    ``labels``) and what the pipeline says of the image. The ground truth is left out.

    Args:
        out_file_path: The file, ``*.pkl`` or ``*.pickle``.
        **kwargs: As for mmengine's ``DumpResults``.

    Raises:
        CheckpointError: If it has another suffix, or is a directory.
        InputError: If nothing can be written to its folder.
    """

    def __init__(self, out_file_path: str, **kwargs: Any) -> None:
        check_output(out_file_path, suffixes=SUFFIXES)
        super().__init__(str(out_file_path), **kwargs)

    def process(self, data_batch: Any, predictions: Sequence[dict]) -> None:
        """Keep the predictions of a batch, on the CPU."""
        left_out = ('gt_instances', 'ignored_instances')
        super().process(
            data_batch,
            [{k: v for k, v in sample.items() if k not in left_out} for sample in predictions],
        )

    def compute_metrics(self, results: list) -> dict:
        """Write the file."""
        with atomic_path(self.out_file_path) as temporary:
            dump(results, str(temporary))
        return {}
