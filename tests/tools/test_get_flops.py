import pytest
from flops import count_cost
from mmengine.config import Config


def test_the_costs_of_a_small_model(run_here, config_file, capsys):
    """By hand: 17 tokens of width 16 in 4 blocks; of 2 x 2 places two convolutions, 19 classes."""
    run_here('analysis_tools/get_flops.py', config_file)
    lines = capsys.readouterr().out.splitlines()
    costs, size = count_cost(Config.fromfile(config_file))
    block = 17 * (16 * 48 + 16 * 16 + 2 * 16 * 64) + 2 * 17 * 17 * 16
    backbone = 16 * 3 * 8 * 8 * 16 + 4 * block
    weights = 9 * 16 * 8 + 9 * (16 + 8) * 8 + 8 * 19
    head = 4 * weights
    assert costs['backbone'].operations == backbone and costs['head'].operations == head
    assert costs['total'].operations == backbone + head and size == (32, 32)
    assert costs['head'].parameters == weights + 8 + 8 + 19
    assert any('backbone' in line and f'{backbone / 1e9:.3f}' in line for line in lines)


def test_the_costs_of_queries_in_the_backbone(tiny_config):
    """By hand: 7 more tokens in the last 2 of 6 blocks are the backbone's."""
    tiny_config.model.update(type='EoMT')
    tiny_config.model.backbone.arch = dict(embed_dim=16, depth=6, num_heads=2)
    del tiny_config.model.backbone['out_indices']
    head = dict(type='EoMTHead', num_classes=19, num_queries=7, num_blocks=2)
    tiny_config.model.decode_head = head
    costs, _ = count_cost(tiny_config)
    blocks = [t * (16 * 48 + 16 * 16 + 2 * 16 * 64) + 2 * t * t * 16 for t in [17] * 4 + [24] * 2]
    assert costs['backbone'].operations == 16 * 3 * 8 * 8 * 16 + sum(blocks)
    per_query = 16 * 20 + 3 * 16 * 16 + 16 * 64 + 19 * 32 * 32  # in the size of the image
    assert costs['head'].operations == 7 * per_query + 16 * 16 * 16 * 4 + 64 * 9 * 16


def test_detectors_and_heads_of_queries(tiny_detector):
    costs, _ = count_cost(tiny_detector, [64, 96])
    assert all(cost.operations > 0 and cost.parameters > 0 for cost in costs.values())
    assert set(costs) == {'backbone', 'neck', 'head', 'total'}


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--shape', '1', '2', '3'], 'one or two numbers'),
        (['--shape', '4'], 'no image of 4 x 4'),
    ],
)
def test_a_size_that_does_not_go_is_named(run_here, config_file, arguments, message):
    with pytest.raises(SystemExit, match=f'^error: .*{message}'):
        run_here('analysis_tools/get_flops.py', config_file, *arguments)
