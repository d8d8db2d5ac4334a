"""EoMT learns to do without masks in its attention."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...io.files import InputError
from ...models.build import plain_model


@HOOKS.register_module()
class MaskAnnealingHook(Hook):
    """Mask fewer and fewer queries of EoMT, block after block (arXiv 2503.19108, section 3.3).

    In a block all queries are masked before its ``begin``, and none from its ``end`` on; between
    them the share falls polynomially. It depends on the iteration alone, so that a resumed training
    goes on as it would have.

    Args:
        begin: Iteration at which each of the blocks with queries begins, the first block first. By
            default, as in the published recipes, they are spaced evenly from a sixth to two thirds
            of the training.
        end: Iteration at which each ends; by default a sixth of the training after its begin.
        power: Of the polynomial.

    Raises:
        ValueError: If a number is out of range, or one of the lists is missing.
    """

    def __init__(
        self,
        begin: Sequence[int] | None = None,
        end: Sequence[int] | None = None,
        power: float = 0.9,
    ) -> None:
        if len(begin or ()) != len(end or ()):
            raise ValueError('MaskAnnealingHook: begin and end need as many iterations')
        self.spans = [*zip(begin, end, strict=True)] if begin else None
        if any(not 0 <= first < last for first, last in self.spans or []) or power <= 0:
            raise ValueError(
                f'MaskAnnealingHook: each begin must be >= 0 and before its end, power > 0, got '
                f'begin={begin}, end={end}, power={power}'
            )
        self.power = power

    def before_train(self, runner: Runner) -> None:
        """Find the head.

        Raises:
            InputError: If the model is no EoMT, or has another number of blocks with queries.
        """
        self._head = getattr(plain_model(runner.model), 'decode_head', None)
        count = len(getattr(self._head, 'mask_probabilities', ()))
        if not count:
            raise InputError("MaskAnnealingHook is for model=dict(type='EoMT'): leave it out")
        self.spans = self.spans or default_spans(count, runner.max_iters)
        if len(self.spans) != count:
            raise InputError(
                f'MaskAnnealingHook: {len(self.spans)} begins for num_blocks={count} of the head'
            )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Set the probabilities of the coming step."""
        self._head.mask_probabilities = [
            mask_probability(runner.iter, *span, self.power) for span in self.spans
        ]


def default_spans(blocks: int, iterations: int) -> list[tuple[float, float]]:
    """First and last iteration of the annealing of each block, as in the published recipes."""
    sixth = iterations / 6
    begins = [sixth * (1 + 3 * index / max(1, blocks - 1)) for index in range(blocks)]
    return [(begin, begin + sixth) for begin in begins]


def mask_probability(iteration: int, begin: float, end: float, power: float) -> float:
    """Probability that a query is masked: 1 until ``begin``, 0 from ``end`` on."""
    progress = min(max((iteration - begin) / (end - begin), 0), 1)
    return (1 - progress) ** power
