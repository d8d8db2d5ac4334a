import pytest
from mmengine.config import Config
from mmengine.registry import MODELS

from soma.io.files import InputError
from soma.utils.config_text import only_registered, parse_config


def test_a_dumped_config_is_read_as_it_was():
    config = Config(dict(a=[1, (2.5, None)], b=dict(type='X', c={'d.e': -1}), f=True, g={1, 2}))
    assert parse_config(config.pretty_text, 'f').to_dict() == config.to_dict()


@pytest.mark.parametrize(
    'text',
    [
        '_base_ = "other.py"',
        'import os',
        'a = open("f")',
        'a = dict(b=__import__("os"))',
        'a = [x for x in (1,)]',
        'a = {**b}',
        'a = f"{b}"',
        'dict(a=1)',
    ],
)
def test_what_would_have_to_be_run_is_refused(text):
    with pytest.raises(InputError, match=r'x\.pth: its config has .* in line 2'):
        parse_config(f'a = 1\n{text}', 'x.pth')


def test_only_registered_classes_are_built():
    config = dict(type='subprocess.check_output', args=['true'])
    assert MODELS.build(dict(config)) == b''
    with only_registered(), pytest.raises(KeyError, match='not in the'):
        MODELS.build(dict(config))
