import torch
from small_configs import small_model
from small_detectors import build, image_sample


def test_boxes_are_exact_in_mixed_precision():
    model = build(small_model('dinov2-L_codetr'))
    head, rpn = model.bbox_head, model.rpn_head
    for branch in head.reg_branches:
        torch.nn.init.normal_(branch[-1].weight)
    states, boxes = torch.randn(2, 1, 50, 32), [torch.rand(1, 50, 4)] * 2
    # far from the first pixel, where bfloat16 knows every fourth
    maps = [torch.randn(1, 32, side, side) for side in (256, 128, 64, 32, 16, 8)]
    sample = image_sample(0, shape=(1024, 1024))
    with torch.no_grad():
        exact = head(states, boxes)
        with torch.autocast('cpu', torch.bfloat16):
            assert all(map(torch.equal, head(states, boxes), exact))
            (proposals,) = rpn.predict(maps, [sample])
    assert proposals.bboxes.dtype == torch.float32
    inside = proposals.bboxes[(proposals.bboxes[:, 0] > 512) & (proposals.bboxes[:, 2] < 1024)]
    assert len(inside) and (inside != inside.bfloat16()).any(1).all()
