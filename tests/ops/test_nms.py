import numpy as np
import pytest
import torch
from mmcv.ops import batched_nms, soft_nms
from mmcv.ops import nms as mmcv_nms

from soma.ops.nms import nms, softnms


def random_boxes(num=40, size=20):
    corners = torch.randint(0, size, (num, 2))
    boxes = torch.cat([corners, corners + torch.randint(1, size, (num, 2))], dim=1).float()
    return boxes, torch.rand(num)


def iou(a, b, offset):
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]) + offset)
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]) + offset)
    areas = [(x[2] - x[0] + offset) * (x[3] - x[1] + offset) for x in (a, b)]
    return width * height / (sum(areas) - width * height)


def reference_nms(boxes, scores, threshold, offset):
    kept = []
    for i in np.argsort(-scores, kind='stable'):
        if all(iou(boxes[i], boxes[j], offset) <= threshold for j in kept):
            kept.append(i)
    return kept


def reference_softnms(boxes, scores, threshold, sigma, min_score, method, offset):
    scores, left, kept, kept_scores = scores.copy(), list(range(len(boxes))), [], []
    while left:
        best = max(left, key=lambda i: scores[i])
        left.remove(best)
        kept.append(best)
        kept_scores.append(scores[best])
        for i in left:
            overlap = iou(boxes[best], boxes[i], offset)
            if method == 'gaussian':
                scores[i] *= np.exp(-(overlap**2) / sigma)
            elif overlap >= threshold:
                scores[i] *= 1 - overlap if method == 'linear' else 0
        left = [i for i in left if scores[i] >= min_score]
    return kept, kept_scores


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('threshold', [0.1, 0.5])
def test_nms_keeps_what_its_definition_keeps(device, offset, threshold):
    boxes, scores = random_boxes()
    kept = nms(boxes.to(device), scores.to(device), threshold, offset)
    expected = reference_nms(boxes.numpy(), scores.numpy(), threshold, offset)
    assert kept.device.type == device
    assert kept.tolist() == expected
    assert 1 < len(expected) < len(boxes)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float16, torch.bfloat16])
def test_nms_in_other_precisions(device, dtype):
    boxes, _ = random_boxes()
    scores = torch.randperm(len(boxes)) / 64  # exact in each precision
    kept = nms(boxes.to(device, dtype), scores.to(device, dtype), 0.5, 0)
    assert kept.tolist() == reference_nms(boxes.numpy(), scores.numpy(), 0.5, 0)


def test_nms_keeps_a_box_exactly_at_the_threshold():
    boxes = torch.tensor([[0.0, 0, 5, 1], [0, 0, 3, 1]])
    assert nms(boxes, torch.tensor([0.9, 0.8]), 0.6, 0).tolist() == [0, 1]


def test_no_boxes():
    boxes, scores = torch.empty(0, 4), torch.empty(0)
    assert nms(boxes, scores, 0.5, 0).tolist() == []
    assert softnms(boxes, scores, torch.empty(0, 5), 0.5, 0.5, 0.1, 1, 0).tolist() == []


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
def test_soft_nms_by_its_definition(method, offset):
    boxes, scores = random_boxes()
    dets, kept = soft_nms(boxes, scores, 0.3, 0.5, 0.05, method, offset)
    expected, expected_scores = reference_softnms(
        boxes.numpy(), scores.numpy(), 0.3, 0.5, 0.05, method, offset
    )
    assert kept.tolist() == expected
    torch.testing.assert_close(dets[:, :4], boxes[kept])
    np.testing.assert_allclose(dets[:, 4], expected_scores, rtol=1e-4)
    assert 1 < len(kept) < len(boxes)


def test_soft_nms_with_boxes_without_area():
    boxes = np.array([[4, 3, 5, 3], [4, 3, 5, 4], [3, 1, 3, 1], [3, 1, 3, 1]], dtype=np.float32)
    dets, kept = soft_nms(boxes, np.array([0.9, 0.8, 0.5, 0.4], dtype=np.float32), 0.6)
    assert isinstance(dets, np.ndarray)
    assert kept.tolist() == [0, 1, 2, 3]


def test_soft_nms_in_half_precision(half):
    boxes, _ = random_boxes()
    scores = torch.randperm(len(boxes)) / 64
    dets, kept = soft_nms(boxes.to(half), scores.to(half), method='gaussian')
    full, expected = soft_nms(boxes, scores, method='gaussian')
    assert kept.tolist() == expected.tolist()
    torch.testing.assert_close(dets.float(), full, rtol=1e-2, atol=1e-2)


def test_soft_nms_names_an_unknown_method():
    with pytest.raises(ValueError, match='got 3'):
        softnms(torch.empty(0, 4), torch.empty(0), torch.empty(0, 5), 0.5, 0.5, 0.1, 3, 0)


def test_mmcv_nms_on_arrays_with_limits():
    boxes, scores = random_boxes()
    dets, kept = mmcv_nms(boxes.numpy(), scores.numpy(), 0.5, score_threshold=0.3, max_num=3)
    expected = reference_nms(boxes.numpy(), scores.numpy(), 0.5, 0)
    assert kept.tolist() == [i for i in expected if scores[i] > 0.3][:3]
    np.testing.assert_array_equal(dets[:, 4], scores.numpy()[kept])


@pytest.mark.parametrize('split_thr', [10, 1000])
def test_batched_nms_looks_at_one_class_at_a_time(device, split_thr):
    boxes, scores = random_boxes()
    classes = torch.arange(len(boxes)) % 3
    config = {'type': 'nms', 'iou_threshold': 0.4, 'split_thr': split_thr}
    _, kept = batched_nms(boxes.to(device), scores.to(device), classes.to(device), config)
    expected = set()
    for c in range(3):
        rows = (classes == c).nonzero().squeeze(1)
        alone = reference_nms(boxes[rows].numpy(), scores[rows].numpy(), 0.4, 0)
        expected |= set(rows[alone].tolist())
    assert set(kept.tolist()) == expected
