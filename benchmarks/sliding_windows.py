"""Speed and memory of testing with sliding windows, against mmseg's, one window after the other."""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from common import main, plain_attention, use_mmseg
from mmengine.model import BaseModel
from mmengine.registry import MODELS, init_default_scope
from mmseg.structures import SegDataSample
from torch import Tensor

from soma.utils.config import REPOSITORY, load_config

WIDTHS = {'small': 384, 'base': 768, 'large': 1024}
DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'


def build(arch: str, head: str, batch_windows: int | None) -> BaseModel:
    """Build a config's segmentor with random weights, always the same; mmseg's own for None."""
    tiny = REPOSITORY / f'benchmarks/configs/dinov2-tiny_{head}.py'
    large = REPOSITORY / f'configs/_base_/models/dinov2-L_{head}.py'
    config = load_config(tiny if arch == 'tiny' else large).model
    config.backbone.init_cfg = None
    if arch != 'tiny':
        config.backbone.arch = arch
        (config.neck if head == 'semfpn' else config.decode_head).in_channels = [WIDTHS[arch]] * 4
    config.test_cfg.update(crop_size=(512, 512), stride=(341, 341))
    config.test_cfg.batch_windows = batch_windows
    if batch_windows is None:
        use_mmseg(config)
    init_default_scope('mmseg')
    torch.manual_seed(0)
    return MODELS.build(config).eval().to(DEVICE)


def predict(model: BaseModel, image: Tensor) -> tuple[Tensor, float]:
    """Segment an image ``(1, 3, h, w)``; the labels and the seconds."""
    shape = tuple(image.shape[2:])
    sample = SegDataSample(metainfo=dict(ori_shape=shape, img_shape=shape))
    start = time.perf_counter()
    with torch.inference_mode():
        labels = model.predict(image, [sample])[0].pred_sem_seg.data.cpu()
    return labels, time.perf_counter() - start


def memory(name: str) -> int:
    """Bytes in use by this process (``VmRSS``), or the most since the last reset (``VmHWM``)."""
    if DEVICE == 'cuda':
        used, peak = torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()
        return used if name == 'VmRSS' else peak
    lines = dict(line.split(':') for line in Path('/proc/self/status').read_text().splitlines())
    return int(lines[name].split()[0]) * 1024


def reset_peak() -> None:
    """Make the peak what is in use now."""
    if DEVICE == 'cuda':
        torch.cuda.reset_peak_memory_stats()
    else:
        ctypes.CDLL(None).malloc_trim(0)  # what the way before has left
        Path('/proc/self/clear_refs').write_text('5')


def compare(
    arch: str, head: str, size: Sequence[int], batches: Sequence[int], repeats: int
) -> list[dict]:
    """Compare the ways to test, which take turns in one process.

    Args:
        arch: Of DINOv2: small, base or large; or tiny, of width 64, with SemFPN alone.
        head: ``'semfpn'`` or ``'mask2former'``.
        size: Height and width of the images in pixels.
        batches: Numbers of windows that the model takes at once.
        repeats: Images for each way.

    Returns:
        A row a way: ``way``, ``images_per_second`` (of the median time), ``speed`` (against
        mmseg's), ``peak_mb`` (beside the model), ``equal_labels`` (share of the pixels).
    """
    ways = (None, *batches)
    models = [build(arch, head, way) for way in ways[:2]]
    models[1].load_state_dict(models[0].state_dict())
    seconds, peaks, equal = ({way: [] for way in ways} for _ in range(3))
    for repeat in range(repeats + 1):
        image = torch.randn(1, 3, *size).to(DEVICE)
        for way in ways:
            models[1].test_cfg.batch_windows = way
            reset_peak()
            before = memory('VmRSS')
            with plain_attention() if way is None else nullcontext():
                labels, took = predict(models[way is not None], image)
            peaks[way].append(memory('VmHWM') - before)
            if way is None:
                expected = labels
            equal[way].append((labels == expected).double().mean().item())
            if repeat:  # the first is to warm up
                seconds[way].append(took)
    medians = {way: statistics.median(values) for way, values in seconds.items()}
    return [
        dict(
            arch=arch,
            head=head,
            size=list(size),
            device=DEVICE,
            way='mmseg' if way is None else f'batch_windows={way}',
            images_per_second=round(1 / medians[way], 4),
            speed=round(medians[None] / medians[way], 3),
            peak_mb=round(statistics.median(peaks[way]) / 1e6),
            equal_labels=min(equal[way]),
        )
        for way in ways
    ]


def measure(repeats: int = 3) -> list[dict]:
    """Compare on a small backbone with images of full size, and on a larger one with a half."""
    rows = compare('tiny', 'semfpn', (1024, 2048), (1, 2, 4, 8), repeats)
    return rows + compare('small', 'mask2former', (512, 1024), (1, 4), repeats)


if __name__ == '__main__':
    main(measure, 'Sliding windows of 512 pixels every 341, against mmseg')
