import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmseg.models.decode_heads import Mask2FormerHead
from torch import nn

from soma.models.probabilities import class_probabilities
from soma.models.segmentors import SegmentorEnsemble

SCORES = torch.tensor([2.0, 1.0, 1.0])[:, None, None].expand(3, 2, 5)
SOFTMAX = torch.tensor([2.0, 1.0, 1.0]).softmax(0)[:, None, None].expand(3, 2, 5)
SHARES = SCORES / 4


def model_of(head, kind=nn.Module, **attributes):
    """A model with this head, whatever its layers would be."""
    model = kind.__new__(kind)
    nn.Module.__init__(model)
    for name, value in dict(decode_head=head, **attributes).items():
        setattr(model, name, value)
    return model


def masks():
    return model_of(None, Mask2FormerHead)


def ensemble(operation):
    members = nn.ModuleList([model_of(masks())])
    return model_of(None, SegmentorEnsemble, members=members, operation=operation)


@pytest.mark.parametrize(
    ('model', 'expected'),
    [
        (model_of(nn.Identity()), SOFTMAX),
        (model_of(nn.ModuleList([nn.Identity(), masks()])), SHARES),
        (model_of(None, MMDistributedDataParallel, module=model_of(masks())), SHARES),
        (ensemble('add'), SOFTMAX),
        (ensemble('logits'), SHARES),
        (ensemble('mul-input'), SHARES),
    ],
)
def test_probabilities_are_those_of_what_the_scores_are(model, expected):
    torch.testing.assert_close(class_probabilities(model, SCORES), expected)
    batch = class_probabilities(model, SCORES.half()[None])
    torch.testing.assert_close(batch, expected[None], rtol=1e-3, atol=0)
    assert batch.dtype == torch.float32


def test_a_pixel_without_scores_and_a_single_channel():
    nothing = class_probabilities(model_of(masks()), torch.zeros(4, 1, 1))
    assert nothing.flatten().tolist() == [0.25] * 4
    two = class_probabilities(model_of(nn.Identity()), torch.full((1, 1, 1), 0.75))
    assert two.flatten().tolist() == [0.25, 0.75]
