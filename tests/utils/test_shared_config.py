"""A config that came with a file of weights reads nothing and runs nothing."""

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from soma.inference import Inferencer
from soma.io.checkpoint_files import write_checkpoint
from soma.io.files import InputError
from soma.utils.config import REPOSITORY, load_config
from soma.utils.config_text import parse_config, shared_config
from soma.utils.shared_config import prediction_config

CALL = "__import__('os').mkdir('x')"
PLAIN = dict(
    default_scope='mmseg',
    model=dict(type='EncoderDecoder', backbone=dict(type='DINOv2', arch='small'), test_cfg={}),
    test_pipeline=[dict(type='LoadImageFromFile'), dict(type='PackSegInputs')],
)


def changed(place, value):
    config = Config(copy.deepcopy(PLAIN))
    config.merge_from_dict({place: value})
    return config.to_dict()


@pytest.mark.parametrize(
    ('place', 'value'),
    [
        ('model.test_cfg.nms', dict(type=CALL)),  # mmcv evaluates it
        ('model.test_cfg.nms', dict(type='os.abort')),
        ('model.cmc', dict(warp_mode=CALL)),  # so does mmdet
        ('model.teacher_config', 'teacher.py'),  # mmdet runs it
        ('model.decode_head', dict(loss_decode=dict(class_weight='weights.pkl'))),
        ('model.backbone.name', 'some/folder'),
        ('model.backbone.model_name', 'hf-hub:someone'),
        ('model.backbone.trust_remote_code', True),
        ('model.backbone.type', 'elsewhere.Model'),  # mmengine imports elsewhere.registry
        ('model.decode_head._scope_', 'elsewhere'),
        ('default_scope', 'elsewhere'),
        ('default_scope', 5),
        ('tta_model', dict(type='SegTTAModel', module='a/b')),
        ('test_pipeline', [dict(type='LoadImageFromFile', decode_backend='pickle')]),
        ('test_pipeline', [dict(type='LoadImageFromFile', keys=[{CALL: 1}])]),
    ],
)
def test_what_could_read_files_or_run_code_is_refused(place, value):
    assert prediction_config(PLAIN, 'f') == PLAIN
    with pytest.raises(InputError, match=r'f: its config has .*, which could read files or run'):
        prediction_config(changed(place, value), 'f')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (f'a = b"{CALL}"', 'which would have to be run'),  # eval() takes bytes
        ('a = {[1]: 2}', 'cannot be used'),
        ('filename = 1', 'cannot be used'),
        ('a = ' + 'b.' * 3000 + 'c', 'its config'),
    ],
)
def test_texts_that_are_no_config(text, message):
    with pytest.raises(InputError, match=message):
        parse_config(text, 'f')


@pytest.mark.parametrize('place', ['model', 'test_pipeline', 'model.backbone'])
def test_parts_of_the_wrong_kind_are_refused(place):
    for value in ('x', [1], None):
        with pytest.raises(InputError, match='f: its config has no'):
            prediction_config(changed(place, value), 'f')


@pytest.mark.parametrize('data', [5, dict(datasets=5), dict(datasets=['a']), dict(dataset='a')])
def test_data_of_the_wrong_kind_are_refused(data):
    config = changed('test_dataloader', dict(dataset=data))
    del config['test_pipeline']
    with pytest.raises(InputError, match='f: its config has no test_pipeline'):
        prediction_config(config, 'f')


def test_only_what_predicts_is_kept():
    config = copy.deepcopy(PLAIN)
    config['model']['pretrained'] = 'open-mmlab://resnet50'
    config['model']['decode_head'] = dict(type='FCNHead', init_cfg=dict(checkpoint='https://a/b'))
    base = dict(type='Pretrained', checkpoint='/home/me/base.pth')
    config['model']['backbone'] |= dict(
        init_cfg=dict(base, map_location='cpu'), adapter=dict(type='Rein', targets=r'blocks\.\d+')
    )
    config |= dict(work_dir='/home/me', load_from='x.pth', train_dataloader=dict(a='b/c'))
    expected = copy.deepcopy(PLAIN)
    expected['model']['decode_head'] = dict(type='FCNHead')
    expected['model']['backbone'] |= dict(
        init_cfg=base, adapter=dict(type='Rein', targets=r'blocks\.\d+')
    )
    assert prediction_config(config, 'f') == expected
    steps = config.pop('test_pipeline')
    config['test_dataloader'] = dict(dataset=dict(datasets=[dict(pipeline=steps)]))
    assert prediction_config(config, 'f') == expected


@pytest.mark.parametrize(
    'name',
    [
        'soma/soma_dinov2-L_mask2former_gta2cbm_512x512.py',
        'det/soma_dinov2-L_codetr_diverse-weather_1024x1024.py',
        'rein/rein_dinov2-L_mask2former_gta2cbm_512x512.py',
    ],
)
def test_our_configs_are_fit_to_be_shared(name):
    config = load_config(REPOSITORY / 'configs' / name)
    shared = shared_config(config.pretty_text, name)
    assert shared.model.keys() == config.model.keys() - {'init_cfg'}
    assert shared.test_pipeline == config.test_pipeline


def test_nothing_is_imported_for_a_file(tiny_config, tmp_path, monkeypatch):
    """mmengine would import ``elsewhere.registry`` from the folder that the file is in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path('elsewhere').mkdir()
    Path('elsewhere/registry.py').write_text("open('it_ran', 'w')")
    tiny_config.model.decode_head.type = 'elsewhere.FCNHead'
    tiny_config.custom_imports = dict(imports=['elsewhere.registry'])
    state = {'decode_head.conv_seg.bias': torch.zeros(19)}
    meta = {'soma': {'config': tiny_config.pretty_text}}
    write_checkpoint({'state_dict': state, 'meta': meta}, 'model.safetensors')
    with pytest.raises(InputError, match=r"model\.decode_head.type = 'elsewhere\.FCNHead'"):
        Inferencer.from_pretrained('model.safetensors', device='cpu')
    assert not Path('it_ran').exists()
