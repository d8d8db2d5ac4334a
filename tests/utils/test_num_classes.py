"""``num_classes`` at the top of a config is that of all heads."""

import pytest
from mmengine.config import Config

from soma.io.files import InputError
from soma.utils.config import REPOSITORY, load_config
from soma.utils.num_classes import write_num_classes

CONFIGS = REPOSITORY / 'configs'


@pytest.fixture
def load(tmp_path):
    def load(base, text='num_classes = 3', **options):
        path = tmp_path / 'own.py'
        path.write_text(f"_base_ = '{CONFIGS / base}'\n{text}\n")
        return load_config(path, options)

    return load


MASK2FORMER = 'soma/soma_dinov2-S_mask2former_gta2cbm_512x512.py'
CODETR = 'det/soma_dinov2-L_codetr_diverse-weather_1024x1024.py'
FASTER = 'det/soma_r50_faster-rcnn_diverse-weather_1024x1024.py'


def test_mask2former_gets_weights_and_keeps_that_of_no_object(load, tmp_path):
    config = load(MASK2FORMER)
    head = config.model.decode_head
    assert head.num_classes == 3 and head.loss_cls.class_weight == [1.0, 1.0, 1.0, 0.1]
    config.dump(tmp_path / 'dumped.py')
    again = load_config(tmp_path / 'dumped.py')
    assert again.model == config.model and again.num_classes == 3
    head = load_config(tmp_path / 'dumped.py', {'num_classes': 2}).model.decode_head
    assert head.num_classes == 2 and head.loss_cls.class_weight == [1.0, 1.0, 0.1]
    assert 'num_classes' not in load_config(CONFIGS / MASK2FORMER)


@pytest.mark.parametrize('base', [CODETR, FASTER])
def test_all_heads_of_a_detector(load, base):
    model = load(base).model
    heads = [model[name] for name in ('bbox_head', 'atss_head') if name in model]
    heads.append(model.roi_head.bbox_head)
    assert [head.num_classes for head in heads] == [3] * len(heads)
    assert 'num_classes' not in model.roi_head and 'num_classes' not in model.rpn_head


def config_of(count=3, **model):
    return Config(dict(num_classes=count, model=dict(type='EncoderDecoder', **model)))


def head(**options):
    return dict(type='FCNHead', **options)


def test_lists_of_heads_and_heads_of_something_else():
    config = config_of(
        backbone=dict(type='X', num_classes=7),
        decode_head=[head(num_classes=19), head()],
        auxiliary_head=[
            head(num_classes=19, loss_decode=[dict(class_weight=[2.0] * 19)]),
            head(num_classes=2, boundary_threshold=0.1),
        ],
        members=[
            dict(decode_head=head(num_classes=19)),
            dict(decode_head=head(kernel_generate_head=head(num_classes=19))),  # mmseg's KNet
        ],
    )
    write_num_classes(config)
    model = config.model
    assert [part.num_classes for part in model.decode_head] == [3, 3]
    assert [part.num_classes for part in model.auxiliary_head] == [3, 2]
    assert model.auxiliary_head[0].loss_decode[0].class_weight == [2.0, 2.0, 2.0]
    assert model.backbone.num_classes == 7 and model.members[0].decode_head.num_classes == 3
    outer = model.members[1].decode_head
    assert outer.kernel_generate_head.num_classes == 3 and 'num_classes' not in outer


@pytest.mark.parametrize(
    ('before', 'weights', 'expected'),
    [
        (2, [1.0, 1.0, 0.1], [1.0, 1.0, 1.0, 0.1]),  # as long as there will be classes
        (4, [1.0] * 4, [1.0] * 3),
        (19, [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]),  # written for the new number
        (3, [1.0, 2.0, 3.0, 0.1], [1.0, 2.0, 3.0, 0.1]),
        (None, [1.0] * 19, [1.0] * 3),
    ],
)
def test_weights_of_classes(before, weights, expected):
    counts = {} if before is None else dict(num_classes=before)
    config = config_of(decode_head=head(**counts, loss_decode=dict(class_weight=weights)))
    for _ in range(2):
        write_num_classes(config)
        assert config.model.decode_head.loss_decode.class_weight == expected


def test_what_cannot_be_is_refused_in_a_line(load):
    weights = 'model = dict(decode_head=dict(loss_cls=dict(class_weight=[1.0, 2.0] * 10)))'
    with pytest.raises(
        InputError, match=r'own.py: model\.decode_head\.loss_cls\.class_weight has 20'
    ):
        load(MASK2FORMER, f'num_classes = 3\n{weights}')
    option = {'model.decode_head.num_classes': 7}
    with pytest.raises(InputError, match=r'=7, but num_classes = 3 .* --cfg-options num_classes=7'):
        load(MASK2FORMER, **option)
    assert load(MASK2FORMER, '', **option).model.decode_head.num_classes == 7
    for count in (0, '3', True):
        with pytest.raises(InputError, match='a whole number of at least 1, got'):
            write_num_classes(config_of(count))
    with pytest.raises(InputError, match='the model has no head with classes'):
        write_num_classes(config_of(backbone={}))
    panoptic = config_of(133, panoptic_head=dict(num_things_classes=80, num_stuff_classes=53))
    write_num_classes(panoptic)


def test_a_runner_needs_no_load_config(tiny_config, build_runner):
    tiny_config.num_classes = 5
    assert build_runner(tiny_config).model.decode_head.conv_seg.out_channels == 5
