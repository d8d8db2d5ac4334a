"""Inference: segment images or find objects in them, and draw the results."""

from ..registration import register

register()

from ..utils.colours import colour_overlay
from .draw_hook import DrawPredictionsHook
from .drawing import draw_boxes, draw_result, side_by_side, stack_rows
from .inferencer import Inferencer
from .sources import list_images
from .visualize import visualize

__all__ = [
    'DrawPredictionsHook',
    'Inferencer',
    'colour_overlay',
    'draw_boxes',
    'draw_result',
    'list_images',
    'side_by_side',
    'stack_rows',
    'visualize',
]
