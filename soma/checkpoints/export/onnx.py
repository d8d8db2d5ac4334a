"""Merged segmentors as ONNX files."""

from __future__ import annotations

import copy
import inspect
import json
import logging
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import onnx
import onnxruntime
import torch
from mmengine.config import Config
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from ...adapters.card import Card
from ...io.files import atomic_path, check_output
from ...models.build import LeftOut, build_model, use_plain_model
from ...utils.config import load_config, metainfo_of
from ..merge import merged_card
from ..open import load_plain
from .traceable import BicubicAsProducts, free_sizes

OPSET = 17  # the first with LayerNormalization; of TensorRT 8.6 and newer
INPUT, OUTPUT = 'image', 'scores'
AXES = {0: 'batch', 2: 'height', 3: 'width'}  # those that can be free
PRECISIONS = ('fp32', 'fp16', 'int8')
Examples = Sequence[tuple[Tensor, Tensor]]  # images and scores
TOLERANCE = 1e-3
LIMIT = 2**31  # bytes; larger ones must keep their weights in other files


class Window(nn.Module):
    """A segmentor for images of one size, or of any.

    Args:
        model: A plain segmentor of mmseg, whose layers change so that sizes can be free.
        size: Height and width in pixels, or None.
    """

    def __init__(self, model: nn.Module, size: tuple[int, int] | None) -> None:
        super().__init__()
        self.model, self.size = model, size
        free_sizes(model)
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
        size = self.size or image.shape[2:]
        meta = dict(ori_shape=size, img_shape=size, pad_shape=size, batch_input_shape=size)
        image = ((image - self.mean) / self.std).to(next(self.model.parameters()).dtype)
        return self.model.encode_decode(image, [meta] * len(image)).float()


class Exported(NamedTuple):
    """What :func:`export_onnx` wrote.

    Attributes:
        size: Height and width of the window in pixels, None if any will do.
        difference: The largest one of a score between onnxruntime and PyTorch, on random images.
    """

    size: tuple[int, int] | None
    difference: float


def export_onnx(
    config: str | os.PathLike | Config,
    adapter: str | os.PathLike,
    out: str | os.PathLike,
    size: Sequence[int] | None = None,
    base: str | os.PathLike | None = None,
    opset: int = OPSET,
    force: bool = False,
    *,
    dynamic: bool = False,
    precision: str = 'fp32',
) -> Exported:
    """Write a segmentor, its adapter folded in, and compare its outputs with PyTorch's.

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
        dynamic: Leave number, height and width of the images free. Then three sizes are compared,
            around ``size``.
        precision: ``'fp32'``; ``'fp16'``, in which weights are and what is computed with them; or
            ``'int8'``, in which the products with constant matrices are, each column of these with
            a scale (dynamic quantisation, without images). Images and scores are in float32.

    Returns:
        The size, and how much the outputs differ.

    Raises:
        FileNotFoundError: If a file does not exist.
        CheckpointError: If a file cannot be used, or the base is not the adapter's.
        RuntimeError: If the model is no segmentor, cannot be exported so, is too large, its outputs
            in float32 differ by more than 1e-3, or those in another precision are not finite;
            nothing is written then.
        ValueError: If there is no such precision.
    """
    check_output(out, [adapter, base], ('.onnx',))
    if precision not in PRECISIONS:
        raise ValueError(f'precision must be one of {PRECISIONS}, got {precision!r}')
    config = copy.deepcopy(config) if isinstance(config, Config) else load_config(config)
    if 'decode_head' not in config.model:
        raise RuntimeError('only segmentors can be exported: the config has no model.decode_head')
    left_out = use_plain_model(config)
    size = tuple(
        size or config.model.test_cfg.get('crop_size') or config.model.data_preprocessor['size']
    )
    model = build_model(config)
    card = load_plain(model, adapter, base, force, left_out)
    if sum(value.nbytes for value in model.state_dict().values()) > LIMIT:
        raise RuntimeError(f'{adapter} is too large: an ONNX file holds 2 GB of weights')
    # The exporter brings back the mode that it found.
    window = Window(model, None if dynamic else size).eval()
    shapes = _shapes(size, getattr(model.backbone, 'stride', 32)) if dynamic else [(1, 3, *size)]
    images = [torch.rand(shape) * 255 for shape in shapes]
    with atomic_path(out, flush=True) as temporary, torch.no_grad():
        with _refusing(window.size, f'opset {opset}: '):
            examples = [(image, window(image)) for image in images]
            difference = _export(window, examples, temporary, opset)
            if not difference <= TOLERANCE:
                raise ValueError(f'onnxruntime differs by {difference:.1e}, more than {TOLERANCE}')
        if precision == 'fp16':
            with _refusing(window.size, f'fp16, opset {opset}: '):
                model.half()
                difference = _export(window, examples, temporary, opset)
        elif precision == 'int8':
            _quantise(temporary)
            difference = _difference(temporary, examples)
        if not math.isfinite(difference):
            raise RuntimeError(f'the scores in {precision} are not finite: take another precision')
        _write_facts(temporary, window, merged_card(card), left_out, precision)
    return Exported(window.size, difference)


def _shapes(size: tuple[int, int], stride: int) -> list[tuple[int, ...]]:
    """Shapes of images to try; the first, which is traced, is enlarged, and positions resized."""
    h, w = (max(side // stride, 1) * stride for side in size)
    return [(1, 3, h + stride - 1, w + 2 * stride - 1), (1, 3, h, w), (2, 3, h + stride, w)]


def _export(window: Window, examples: Examples, path: os.PathLike, opset: int) -> float:
    """Write a file by tracing the first image; how much the scores of all differ."""
    options = dict(input_names=[INPUT], output_names=[OUTPUT], opset_version=opset)
    if window.size is None:
        options['dynamic_axes'] = dict.fromkeys((INPUT, OUTPUT), AXES)
    if 'dynamo' in inspect.signature(torch.onnx.export).parameters:
        options['dynamo'] = False  # the newer exporter does not trace Mask2Former's pixel decoder
    with warnings.catch_warnings(), BicubicAsProducts():
        warnings.simplefilter('ignore')  # that what is no tensor is fixed, once for each place
        torch.onnx.export(window, examples[0][:1], str(path), **options)
    return _difference(path, examples)


def _difference(path: os.PathLike, examples: Examples) -> float:
    """The largest difference of a score; NaN if there is one that is none."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # it raises what it would log
    session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    differences = []
    for image, scores in examples:
        (result,) = session.run(None, {INPUT: image.numpy()})
        differences.append((torch.from_numpy(result) - scores).abs().max())
    return float(torch.stack(differences).max())


@contextmanager
def _refusing(size: tuple[int, int] | None, what: str) -> Iterator[None]:
    """Say of whatever the body raises that there is no export of this size."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # of many kinds
        reason = what + str(error).strip().partition('\n')[0]
        sizes = 'images of any size; leave --dynamic out'
        if size is not None:
            sizes = f'{size[0]} x {size[1]} pixels; both should be multiples of the patch size'
        raise RuntimeError(f'no export for {sizes} ({reason})') from error


def _quantise(path: os.PathLike) -> None:
    options = dict(per_channel=True, weight_type=QuantType.QInt8)
    logging.disable(logging.WARNING)  # which advises to simplify the graph before
    try:
        quantize_dynamic(path, path, op_types_to_quantize=['MatMul', 'Gemm'], **options)
    finally:
        logging.disable(logging.NOTSET)


def _write_facts(
    path: os.PathLike, window: Window, card: Card, left_out: LeftOut, precision: str
) -> None:
    """Write what a file says of itself, as JSON, into its ``metadata_props``."""
    classes = vars(card) if card.classes else (left_out.data and metainfo_of(left_out.data)) or {}
    normalise = {name: getattr(window, name).flatten().tolist() for name in ('mean', 'std')}
    model = onnx.load(path)
    facts = {
        'card': card.to_dict(),
        'classes': classes.get('classes'),
        'palette': classes.get('palette'),
        'normalisation': {'inside': True, 'input': 'RGB, 0 to 255', **normalise},
        'opset': model.opset_import[0].version,
        'precision': precision,
    }
    onnx.helper.set_model_props(model, {name: json.dumps(fact) for name, fact in facts.items()})
    onnx.save(model, path)
