"""docs/user_guides/export.md: what leaves PyTorch predicts what the model does."""

import importlib

import numpy as np
import onnxruntime
import pytest
import torch

from soma.inference import Inferencer

pytestmark = pytest.mark.slow


def test_export(example, tiny_config, build_runner, run_here, street_data, monkeypatch):
    folder = example('../user_guides/export.md')
    work_dir = folder / 'work_dirs/my_data'
    build_runner(tiny_config, {'work_dir': str(work_dir), 'train_cfg.val_interval': 9}).train()
    checkpoint = (work_dir / 'iter_4.pth').rename(work_dir / 'best.pth')
    tiny_config.custom_imports = dict(imports=['soma'])
    tiny_config.dump('my_data.py')
    files = ['--config', folder / 'my_data.py', '--checkpoint', checkpoint]
    run_here('export_adapter.py', '--to', 'onnx', *files, '--out', folder / 'segmentor.onnx')
    int8 = ['--precision', 'int8', '--out', folder / 'int8.onnx']
    run_here('export_adapter.py', '--to', 'onnx', *files, *int8)
    monkeypatch.chdir(folder)
    (folder / 'image.png').symlink_to(street_data / 'images/00000.png')

    onnx = importlib.import_module('run_onnx')
    segment = Inferencer('my_data.py', checkpoint)
    image = onnx.image.astype(np.uint8)
    same = segment(image[..., ::-1]) == onnx.labels
    assert onnx.labels.shape == (32, 32) and same.mean() > 0.99
    session = onnxruntime.InferenceSession('int8.onnx')
    (scores,) = session.run(None, {'image': onnx.image.transpose(2, 0, 1)[None]})
    difference = np.abs(scores - onnx.scores).max()
    assert 0 < difference < 0.1 * np.abs(onnx.scores).max()

    exported = importlib.import_module('to_pt2')
    again = torch.export.load('segmentor.pt2').module()
    image = torch.randn_like(exported.image)
    torch.testing.assert_close(again(image), exported.model(image))
