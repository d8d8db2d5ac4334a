"""Inference: segment pictures and draw them."""

from .drawing import colour_overlay, side_by_side, stack_rows
from .hooks import DrawPredictionsHook
from .inferencer import Inferencer
from .visualize import list_images, visualize

__all__ = [
    'DrawPredictionsHook',
    'Inferencer',
    'colour_overlay',
    'list_images',
    'side_by_side',
    'stack_rows',
    'visualize',
]
