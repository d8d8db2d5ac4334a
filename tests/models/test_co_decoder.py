"""The decoder and the head of Co-DETR against a direct computation."""

import math

import numpy as np
import pytest
import torch
from small_configs import small_model
from small_detectors import build


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    return build(small_model('dinov2-L_codetr')).eval()


def sine_code(boxes, num):
    """DINO's code of boxes: sine and cosine of y, then x, w, h, at ``num / 2`` frequencies."""
    frequencies = 2 * math.pi / 10000 ** (2 * np.arange(num // 2) / num)
    angles = boxes[..., [1, 0, 2, 3], None] * frequencies  # (n, q, 4, num / 2)
    return np.stack([np.sin(angles), np.cos(angles)], -1).reshape(*boxes.shape[:2], -1)


def logit(x):
    return np.log(np.maximum(x, 1e-3) / np.maximum(1 - x, 1e-3))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def linear(x, layer):
    return x @ layer.weight.numpy().T + layer.bias.numpy()


@torch.no_grad()
def test_positions_are_a_code_of_the_boxes_that_a_layer_starts_from(model):
    """A box in an image of which padding takes a part counts in the whole of its level."""
    decoder, branches = model.decoder, model.bbox_head.reg_branches
    assert decoder.ref_point_head.layers[0].in_features == 64  # twice the width, not four times
    codes = []
    hook = decoder.ref_point_head.register_forward_pre_hook(lambda _, x: codes.append(x[0]))
    start = torch.rand(2, 3, 4)
    start[0, 0, 2:] = 1e-5
    states, boxes = decoder(
        query=torch.randn(2, 3, 32),
        value=torch.randn(2, 320, 32),
        key_padding_mask=None,
        self_attn_mask=None,
        reference_points=start,
        spatial_shapes=torch.tensor([[8, 8]] * 5),
        level_start_index=torch.arange(5) * 64,
        valid_ratios=torch.tensor([[[0.5, 0.75]] * 5, [[1.0, 1.0]] * 5]),
        reg_branches=branches,
    )
    hook.remove()
    assert states.shape == (2, 2, 3, 32) and boxes.shape == (3, 2, 3, 4) and len(codes) == 2
    assert torch.equal(boxes[0], start)
    ratios = np.array([[[0.5, 0.75, 0.5, 0.75]], [[1.0] * 4]])
    for code, layer_start in zip(codes, boxes, strict=False):
        expected = sine_code(layer_start.numpy() * ratios, 16)
        np.testing.assert_allclose(code, expected, atol=1e-5)


def test_the_layers_before_the_last_are_needed():
    config = small_model('dinov2-L_codetr')
    config.decoder.return_intermediate = False
    with pytest.raises(ValueError, match='return_intermediate must be True with num_feats'):
        build(config)


@torch.no_grad()
def test_the_head_clips_boxes_where_the_decoder_does(model):
    """mmdet's heads start a box of no width from 1e-5."""
    head, states = model.bbox_head, torch.randn(2, 1, 3, 32)
    starts = [torch.rand(1, 3, 4) for _ in range(3)]
    starts[0][0, 0] = torch.tensor([0, 1, 1e-4, 0.9999])
    scores, boxes = head(states, starts)
    assert scores.shape == (2, 1, 3, 7)
    for layer in range(2):
        hidden = states[layer].numpy()
        np.testing.assert_allclose(
            scores[layer], linear(hidden, head.cls_branches[layer]), atol=1e-5
        )
        for module in head.reg_branches[layer]:
            relu = isinstance(module, torch.nn.ReLU)
            hidden = np.maximum(hidden, 0) if relu else linear(hidden, module)
        expected = sigmoid(hidden + logit(starts[layer].numpy()))
        np.testing.assert_allclose(boxes[layer], expected, atol=1e-6)
