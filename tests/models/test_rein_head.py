"""Mask2Former on the queries of Rein's tokens."""

import pytest
import torch
from mmengine.registry import MODELS
from test_heads import features, head_config, labels_of, make, samples

from soma.models.heads import ReinMask2FormerHead


def rein_head(queries=8, **options):
    config = head_config(queries)
    config.update(options)
    config.type = 'ReinMask2FormerHead'
    return MODELS.build(config)


@pytest.fixture
def pair():
    """The head, its queries, and the lean head that has learned the same ones."""
    _, lean = make()
    head, queries = rein_head(), torch.randn(8, 32)
    missing, unexpected = head.load_state_dict(lean.state_dict(), strict=False)
    assert missing == ['querys2feat.weight', 'querys2feat.bias']
    assert unexpected == ['query_embed.weight', 'query_feat.weight']
    with torch.no_grad():
        lean.query_embed.weight.copy_(queries)
        lean.query_feat.weight.copy_(head.querys2feat(queries))
    return head.eval(), queries, lean.eval()


def test_queries_stand_for_learned_ones(pair):
    head, queries, lean = pair
    maps, metas = features(), [dict(img_shape=(90, 130))] * 2
    with torch.no_grad():
        for actual, expected in zip(head((maps, queries)), lean(maps), strict=True):
            for a, b in zip(actual, expected, strict=True):
                torch.testing.assert_close(a, b)
        result = head.predict((tuple(maps), queries), metas, {})
        torch.testing.assert_close(result, lean.predict(maps, metas, {}))
    assert result.shape == (2, 5, 90, 130)


def test_positions_alone_are_replaced(pair):
    """The release's default."""
    _, queries, lean = pair
    head = rein_head(replace_query_feat=False).eval()
    state = {n: v for n, v in lean.state_dict().items() if n != 'query_embed.weight'}
    head.load_state_dict(state)  # its names, all of them
    with torch.no_grad():
        maps = features()
        actual, expected = head((maps, queries))[1], lean(maps)[1]
    torch.testing.assert_close(actual, expected)


def test_losses_reach_the_queries(pair):
    head, queries, lean = pair
    queries.requires_grad_()
    targets, maps = samples(labels_of(0, 1), labels_of(2, 255)), features()
    for model, x in ((head, (maps, queries)), (lean, maps)):
        torch.manual_seed(3)
        sum(model.loss(x, targets, {}).values()).backward()
    expected = lean.query_embed.weight.grad
    expected = expected + lean.query_feat.weight.grad @ head.querys2feat.weight
    torch.testing.assert_close(queries.grad, expected, rtol=1e-3, atol=1e-4)
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_maps_alone_are_refused():
    head = rein_head()
    message = r'link=True, num_tokens=8, query_dims=32\); it returns maps alone'
    for maps in (features(), tuple(features())):
        with pytest.raises(ValueError, match=message):
            head(maps)
    with pytest.raises(ValueError, match=r'num_tokens=8.* its queries are \(9, 32\)'):
        head((features(), torch.randn(9, 32)))
    assert isinstance(head, ReinMask2FormerHead)
