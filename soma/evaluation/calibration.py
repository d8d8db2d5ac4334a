"""Whether a segmentor is as sure as it is right, and less sure where it is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ..io.files import InputError, atomic_path
from ..models.probabilities import class_probabilities

KEYS = ('ECE', 'NLL', 'Brier', 'AUROC', 'AUPR', 'FPR95')
BINS = 15
_STEPS = 2**18  # of confidence, at most: 3 MB a domain
_VALUES = 2**20  # whose softmax is computed at once
_HALF = 0x3F000000  # the bits of 0.5 in float32


def pixel_scores(
    model: nn.Module, scores: Tensor, prediction: Tensor, label: Tensor | None = None
) -> Tensor:
    """Confidence of each pixel and, with labels, what its probabilities are worth.

    Confidence is the probability of the predicted class; where scores are NaN or infinite, no class
    has any.

    Args:
        model: The segmentor, which tells what its scores mean.
        scores: Its scores, shape ``(classes, h, w)``; a single channel as mmseg leaves it.
        prediction: Class of each pixel, shape ``(h, w)``.
        label: Ground truth, the same shape. What a class that the scores do not have gets, such as
            an ignored one, means nothing.

    Returns:
        In float64, since near 1 it matters how far, shape ``(1, h, w)`` or, with negative
        log-likelihood in nats and Brier score (0 to 2), ``(3, h, w)``.
    """
    maps = [prediction] if label is None else [prediction, label]
    maps = [part.long() for part in maps]
    rows = max(1, _VALUES // (scores.shape[0] * scores.shape[2]))
    made = []
    for part, *classes in zip(scores.split(rows, 1), *(m.split(rows) for m in maps), strict=True):
        shares = class_probabilities(model, part.double()).nan_to_num(0, 0, 0)
        last = len(shares) - 1
        chosen = [shares.gather(0, index.clamp(0, last)[None])[0] for index in classes]
        if label is not None:
            truth = chosen.pop()
            nll = -truth.clamp(min=torch.finfo(truth.dtype).tiny).log()
            chosen += [nll, shares.square().sum(0) - 2 * truth + 1]
        made.append(torch.stack(chosen))
    return torch.cat(made, 1)


def confidences_of(
    model: nn.Module, sample: dict, ignore_index: int, step: int = 1, path: Path | None = None
) -> Confidences | None:
    """Count the labelled pixels of an image by their confidence; None without labels.

    Args:
        model: As for :func:`pixel_scores`.
        sample: With ``seg_logits``, ``pred_sem_seg`` and perhaps ``gt_sem_seg``.
        ignore_index: Label of pixels that do not count.
        step: 2 takes every second row and column, and so on.
        path: File to write the confidences to.

    Raises:
        InputError: If there are no scores, or they are of another size.
    """
    if 'seg_logits' not in sample:
        raise InputError(
            f'{sample.get("img_path")}: this model gives no scores (seg_logits) with its '
            'predictions, which calibration=True needs: leave it out'
        )
    keys = [key for key in ('seg_logits', 'pred_sem_seg', 'gt_sem_seg') if key in sample]
    scores, *maps = (sample[key]['data'][..., ::step, ::step] for key in keys)
    maps = [part.squeeze(0).to(scores.device) for part in maps]
    if {part.shape for part in maps} != {scores.shape[1:]}:
        shapes = ', '.join(f'{k} {tuple(sample[k]["data"].shape)}' for k in keys)
        raise InputError(f'{sample.get("img_path")}: the sizes differ: {shapes}')
    values = pixel_scores(model, scores, *maps)
    if path is not None:
        write_confidence(values[0], path)
    if len(maps) == 1:
        return None
    prediction, label = maps
    counted = label != ignore_index
    return Confidences.of(values[:, counted], (prediction == label)[counted])


def write_confidence(confidence: Tensor, path: Path) -> None:
    """Write confidences ``(h, w)`` as 16-bit grey, in the steps that BRAVO reads them by."""
    steps = (confidence * 2**16).long().clamp(0, 2**16 - 1).cpu().numpy()
    with atomic_path(path) as temporary:
        Image.fromarray(steps.astype(np.uint16)).save(temporary)


@dataclass
class Confidences:
    """Right and wrong pixels counted by their confidence, and sums of what they score.

    A confidence is exact to 24 bits, or its distance from 1 is, where that is smaller. With many
    different ones bits are dropped, of all alike, until few enough are left. How many depends on
    the pixels alone, not on their order or on the parts that they come in.

    Attributes:
        codes: Different confidences, sorted, ``(n,)`` int32: as :func:`_codes` makes them.
        counts: Pixels of each, ``(n,)`` int64.
        dropped: Bits that ``codes`` have lost.
        nll: Sum of the negative log-likelihood.
        brier: Sum of the Brier score.
    """

    codes: np.ndarray
    counts: np.ndarray
    dropped: int = 0
    nll: Fraction = Fraction()
    brier: Fraction = Fraction()

    @classmethod
    def of(cls, scores: Tensor, right: Tensor) -> Confidences:
        """Count pixels.

        Args:
            scores: As of :func:`pixel_scores`, of the pixels that count, shape ``(3, n)``.
            right: Whether each one's prediction is right, shape ``(n,)``.
        """
        codes = _codes(scores[0], right).cpu().numpy()
        codes.sort()
        sums = (Fraction(value) for value in scores[1:].sum(1).tolist())
        return cls(*_grouped(codes, np.ones(codes.size, np.int64), 0), *sums)

    def __add__(self, other: Confidences) -> Confidences:
        dropped = max(self.dropped, other.dropped)
        codes = np.concatenate([p.codes >> (dropped - p.dropped) for p in (self, other)])
        order = codes.argsort(kind='stable')  # of two sorted parts
        counts = np.concatenate([self.counts, other.counts])[order]
        sums = self.nll + other.nll, self.brier + other.brier
        return Confidences(*_grouped(codes[order], counts, dropped), *sums)

    def by_confidence(self) -> tuple[np.ndarray, np.ndarray]:
        """Different confidences, rising, ``(n,)``, and wrong and right pixels, ``(2, n)``."""
        steps, index = np.unique(np.maximum(self.codes, ~self.codes), return_inverse=True)
        counts = np.zeros((2, steps.size), np.int64)
        counts[(self.codes >= 0).astype(int), index] = self.counts
        bits = steps.astype(np.int64) << self.dropped
        bits = np.minimum(bits + (1 << self.dropped >> 1), 2 * _HALF)  # the middle of the step
        values = np.minimum(bits, 2 * _HALF - bits).astype(np.int32).view(np.float32).astype(float)
        return np.where(bits < _HALF, values, 1 - values), counts


def _codes(confidence: Tensor, right: Tensor) -> Tensor:
    """The bits of float32 as whole numbers, inverted of pixels that are wrong.

    From 0.5 on they are those of the distance from 1, mirrored, so that they rise as confidence
    does: steps are about as wide on a scale of log-odds, where confident models differ.
    """
    low = confidence < 0.5
    near = torch.where(low, confidence, 1 - confidence).clamp(min=0).float().view(torch.int32)
    codes = torch.where(low, near, 2 * _HALF - near)
    return torch.where(right, codes, ~codes)


def _grouped(
    codes: np.ndarray, counts: np.ndarray, dropped: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Add the counts of equal codes, which are sorted, when as few bits as need be are dropped."""
    if not codes.size:
        return codes, counts, dropped
    differ = np.frexp((codes[1:] ^ codes[:-1]).view(np.uint32).astype(float))[1]  # which bit does
    bits = next(bits for bits in range(33) if (differ > bits).sum() < _STEPS)
    starts = np.flatnonzero(np.concatenate([[True], differ > bits]))
    return codes[starts] >> bits, np.add.reduceat(counts, starts), dropped + bits


class Calibration(NamedTuple):
    """What the confidence of pixels is worth; NaN where there is nothing to score.

    ECE, AUROC, AUPR and FPR95 are BRAVO's (arXiv 2409.15107). Its last three take pixels as ranked
    by confidence: AUROC with the right ones as positive, which is the chance that a right pixel is
    surer than a wrong one; FPR95 is the share of wrong pixels at or above the confidence that 95 %
    of the right ones reach; AUPR (its AUPR-Error) is the average precision of finding the wrong
    ones, the least sure first.

    Attributes:
        confidence: Mean confidence of each of 15 bins of one width, ``(15,)``; NaN of an empty one.
        accuracy: Share of right pixels, ``(15,)``; NaN of an empty bin.
        share: Share of all pixels, ``(15,)``.
        ECE: Expected calibration error in percent (arXiv 1706.04599).
        NLL: Negative log-likelihood in nats.
        Brier: Squared distance of the probabilities from the truth, summed over classes, in
            percent (0 to 200).
        AUROC: In percent; NaN if all pixels are right or all wrong.
        AUPR: In percent; NaN if no pixel is wrong.
        FPR95: In percent; NaN as AUROC.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    share: np.ndarray
    ECE: float
    NLL: float
    Brier: float
    AUROC: float
    AUPR: float
    FPR95: float

    @classmethod
    def of(cls, counted: Confidences) -> Calibration:
        """Sum up what was counted."""
        values, counts = counted.by_confidence()
        # the last bits of a confidence that is the edge of a bin, such as 1/3, do not count
        index = np.ceil(values * BINS - 1e-6).astype(int).clip(1, BINS) - 1
        total = counts.sum(0)
        pixels, confidence, right = (
            np.bincount(index, weights, BINS) for weights in (total, total * values, counts[1])
        )
        with np.errstate(invalid='ignore'):
            ece = 100 * np.abs(right - confidence).sum() / pixels.sum()
            bins = confidence / pixels, right / pixels, pixels / pixels.sum()
        number = int(total.sum())
        sums = counted.nll, 100 * counted.brier
        means = (float(value / number) if number else float('nan') for value in sums)
        return cls(*bins, float(ece), *means, *_detection(*counts))


def _detection(wrong: np.ndarray, right: np.ndarray) -> tuple[float, float, float]:
    """AUROC, AUPR and FPR95 of pixels ``(n,)`` by rising confidence; pixels of one step tie."""
    none = float('nan')
    if not wrong.any():
        return none, none, none
    found, seen = wrong.cumsum(), (wrong + right).cumsum()
    aupr = (wrong / found[-1] * found / seen).sum()
    if not right.any():
        return none, float(100 * aupr), none
    true, false = (np.append(0, part[::-1].cumsum() / part.sum()) for part in (right, wrong))
    auroc = (np.diff(false) * (true[1:] + true[:-1])).sum() / 2
    fpr = false[np.argmax(true >= 0.95)]
    return tuple(float(100 * value) for value in (auroc, aupr, fpr))
