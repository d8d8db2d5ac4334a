"""mIoU on a config's test data, speed and size of ONNX files of its model, on the CPU."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from common import report
from mmengine.registry import RUNNERS
from torch import Tensor

from soma.models.build import use_plain_model
from soma.utils.cli import ScriptParser, command
from soma.utils.config import load_config


def measure(config: str | os.PathLike, files: Sequence[str | os.PathLike]) -> list[dict]:
    """Test files one after the other, with all that the config does before and after the model.

    Args:
        config: That the files were exported with. Scores of its model, which has random weights,
            come from the files.
        files: Written by ``tools/export_adapter.py --to onnx``.

    Returns:
        A row a file: ``file``, ``mIoU`` (the mean over the domains), ``images_per_second`` (of the
        model alone) and ``megabytes``.
    """
    config, rows = load_config(config), []
    use_plain_model(config)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as config.work_dir:
        runner = RUNNERS.build(config)
        normalise = runner.model.data_preprocessor
        for file in map(Path, files):
            session = onnxruntime.InferenceSession(file, options, ['CPUExecutionProvider'])
            seconds: list[float] = []

            def encode_decode(
                inputs: Tensor, metas: list[dict], session=session, seconds=seconds
            ) -> Tensor:
                images = (inputs * normalise.std + normalise.mean).cpu().numpy()
                start = time.perf_counter()
                scores = [session.run(None, {'image': image[None]})[0] for image in images]
                seconds.append(time.perf_counter() - start)
                return torch.from_numpy(np.concatenate(scores)).to(inputs.device)

            runner.model.encode_decode = encode_decode
            metrics = runner.test()
            rows.append(
                dict(
                    file=file.name,
                    mIoU=round(metrics['mean_mIoU'], 2),
                    images_per_second=round(len(runner.test_dataloader.dataset) / sum(seconds), 2),
                    megabytes=round(file.stat().st_size / 1e6, 1),
                )
            )
    return rows


if __name__ == '__main__':
    parser = ScriptParser(__doc__)
    parser.add_file('config', 'config file')
    parser.add_file('files', 'ONNX files of its model', many=True)
    args = parser.parse_args()
    with command():
        report(measure(args.config, args.files), 'ONNX files')
