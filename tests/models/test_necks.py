import pytest
import torch
import torch.nn.functional as F
from mmdet.models import ChannelMapper

from soma.models.necks import LeanChannelMapper

OPTIONS = dict(in_channels=[8, 8, 8], out_channels=4, kernel_size=1, num_outs=5, act_cfg=None)


@pytest.mark.parametrize('norm', [None, dict(type='GN', num_groups=2)])
def test_resizing_after_the_projection_gives_the_same(norm):
    torch.manual_seed(0)
    lean = LeanChannelMapper(**OPTIONS, norm_cfg=norm, pyramid=(4, 1, 0.5))
    plain = ChannelMapper(**OPTIONS, norm_cfg=norm)
    plain.load_state_dict(lean.state_dict())
    maps = [torch.randn(2, 8, 8, 8, requires_grad=True) for _ in range(3)]
    resized = [
        F.interpolate(x, scale_factor=k, mode='bilinear', align_corners=False)
        for x, k in zip(maps, (4, 1, 0.5), strict=True)
    ]
    actual, expected = lean(maps), plain(resized)
    assert [x.shape[-1] for x in actual] == [32, 8, 4, 2, 1]
    gradients = [
        torch.autograd.grad(sum((out**3).sum() for out in outs), maps)
        for outs in (actual, expected)
    ]
    for a, b in zip((*actual, *gradients[0]), (*expected, *gradients[1]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('wrong', [dict(kernel_size=3), dict(pyramid=(4, 2))])
def test_what_does_not_commute_is_refused(wrong):
    with pytest.raises(ValueError, match='needs kernel_size=1 and a pyramid factor for each'):
        LeanChannelMapper(**{**OPTIONS, 'pyramid': (4, 2, 1), **wrong})
