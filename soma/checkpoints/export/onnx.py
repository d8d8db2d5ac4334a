"""Merged segmentors as ONNX files."""

from __future__ import annotations

import copy
import inspect
import os
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import onnxruntime
import torch
from mmengine.config import Config
from torch import Tensor, nn

from ...io.files import atomic_path, check_output
from ...models.build import build_model, use_plain_model
from ...utils.config import load_config
from ..open import load_plain

TOLERANCE = 1e-3
LIMIT = 2**31  # bytes; larger ones must keep their weights in other files


class Window(nn.Module):
    """A segmentor for images of one size.

    Args:
        model: A plain segmentor of mmseg.
        size: Height and width in pixels.
    """

    def __init__(self, model: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.model, self.size = model, size
        normalise = model.data_preprocessor
        self.register_buffer('mean', normalise.mean.view(1, -1, 1, 1))
        self.register_buffer('std', normalise.std.view(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Segment.

        Args:
            image: Shape ``(n, 3, height, width)``, RGB, 0 to 255.

        Returns:
            Scores of the classes, shape ``(n, classes, height, width)``.
        """
        meta = dict(ori_shape=self.size, img_shape=self.size, pad_shape=self.size)
        meta['batch_input_shape'] = self.size
        return self.model.encode_decode((image - self.mean) / self.std, [meta] * len(image))


class Exported(NamedTuple):
    """What :func:`export_onnx` wrote.

    Attributes:
        size: Height and width of the window in pixels.
        difference: The largest one of a score between onnxruntime and PyTorch, on a random image.
    """

    size: tuple[int, int]
    difference: float


def export_onnx(
    config: str | os.PathLike | Config,
    adapter: str | os.PathLike,
    out: str | os.PathLike,
    size: Sequence[int] | None = None,
    base: str | os.PathLike | None = None,
    opset: int = 18,
    force: bool = False,
) -> Exported:
    """Write a segmentor for windows of one size, its adapter folded in, and compare the outputs.

    Args:
        config: Of the model.
        adapter: Any checkpoint of it.
        out: File to write, ``*.onnx``.
        size: Height and width of the window in pixels; the window that the config tests with, or
            the size of its training images, if None.
        base: File of the pretrained weights, where ``adapter`` has none; the one of the
            config's ``init_cfg`` if None.
        opset: Version of ONNX's operators.
        force: Accept other pretrained weights than those that the adapter was trained on.

    Returns:
        The size, and how much the outputs differ.

    Raises:
        FileNotFoundError: If a file does not exist.
        CheckpointError: If a file cannot be used, or the base is not the adapter's.
        RuntimeError: If the model is no segmentor, cannot be exported at this size, is too large,
            or its outputs differ by more than 1e-3; nothing is written then.
    """
    check_output(out, [adapter, base], ('.onnx',))
    config = copy.deepcopy(config) if isinstance(config, Config) else load_config(config)
    if 'decode_head' not in config.model:
        raise RuntimeError('only segmentors can be exported: the config has no model.decode_head')
    left_out = use_plain_model(config)
    size = tuple(
        size or config.model.test_cfg.get('crop_size') or config.model.data_preprocessor['size']
    )
    model = build_model(config)
    load_plain(model, adapter, base, force, left_out)
    if sum(value.nbytes for value in model.state_dict().values()) > LIMIT:
        raise RuntimeError(f'{adapter} is too large: an ONNX file holds 2 GB of weights')
    window = Window(model, size).eval()  # the exporter brings back the mode that it found
    image = torch.rand(1, 3, *size) * 255
    with atomic_path(out, flush=True) as temporary, torch.no_grad():
        try:
            _export(window, image, temporary, opset)
            session = onnxruntime.InferenceSession(temporary, providers=['CPUExecutionProvider'])
        except OSError:
            raise
        except Exception as error:  # of many kinds
            reason = str(error).strip().partition('\n')[0]
            raise RuntimeError(
                f'no export for {size[0]} x {size[1]} pixels and opset {opset}; both sides should '
                f'be multiples of the patch size ({reason})'
            ) from error
        (scores,) = session.run(None, {'image': image.numpy()})
        difference = float((torch.from_numpy(scores) - window(image)).abs().max())
        if not difference <= TOLERANCE:
            raise RuntimeError(
                f'onnxruntime differs from PyTorch by {difference:.1e}, more than {TOLERANCE}, for '
                f'{size[0]} x {size[1]} pixels (both sides should be multiples of the patch)'
            )
    return Exported(size, difference)


def _export(window: Window, image: Tensor, path: os.PathLike, opset: int) -> None:
    options = dict(input_names=['image'], output_names=['scores'], opset_version=opset)
    if 'dynamo' in inspect.signature(torch.onnx.export).parameters:
        options['dynamo'] = False  # the newer exporter does not trace Mask2Former's pixel decoder
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # that the size is fixed, once for each place
        torch.onnx.export(window, (image,), str(path), **options)
