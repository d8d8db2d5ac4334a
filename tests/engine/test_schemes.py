"""mmengine's addresses of weights: its own downloaders, our reader."""

import os
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_loaders

from soma.engine.schemes import install_schemes
from soma.io.checkpoint_files import CheckpointError
from soma.io.unpickle import trust_files


class Bomb:
    def __reduce__(self):
        return os.mkdir, ('bomb_went_off',)


class Grab:
    """mmengine allows the true ``getattr``, by which a file reaches anything."""

    def __reduce__(self):
        return getattr, (HistoryBuffer, '__init__')


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Address of a server of ``tmp_path/server``; downloads are kept in ``tmp_path/hub``."""
    (tmp_path / 'server').mkdir()
    handler = partial(Quiet, directory=str(tmp_path / 'server'))
    served = ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=served.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'hub'))
    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path / 'hub'))
    monkeypatch.chdir(tmp_path)
    yield f'http://127.0.0.1:{served.server_port}'
    served.shutdown()
    served.server_close()


@pytest.fixture
def names(server, monkeypatch):
    """What mmengine's names of public weights stand for: files of the server."""
    urls = {name: f'{server}/{name}.pth' for name in ('good', 'code', 'grab', 'cut', 'nan')}
    for table in ('get_torchvision_models', 'get_external_models', 'get_mmcls_models'):
        monkeypatch.setattr(mmengine_loaders, table, lambda: urls)
    monkeypatch.setattr(mmengine_loaders, 'get_deprecated_model_names', dict)


@pytest.fixture
def files(tmp_path, server):
    state = {'backbone.a': torch.ones(2)}
    meta = {'config': 'raise SystemExit', 'loss': HistoryBuffer([1.0], [1])}
    for name, extra in (('good', 0), ('code', Bomb()), ('grab', Grab())):
        torch.save({'state_dict': state, 'meta': meta, 'x': extra}, f'server/{name}.pth')
    torch.save({'state_dict': {'backbone.a': torch.tensor([torch.nan])}}, 'server/nan.pth')
    content = (tmp_path / 'server/good.pth').read_bytes()
    (tmp_path / 'server/cut.pth').write_bytes(content[: len(content) // 2])


SCHEMES = ('torchvision://', 'modelzoo://', 'open-mmlab://', 'openmmlab://', 'mmcls://', 'http')


@pytest.mark.parametrize('scheme', SCHEMES)
def test_addresses_reach_mmengines_downloaders_and_are_read_safely(server, names, files, scheme):
    def address(name):
        return f'{server}/{name}.pth' if scheme == 'http' else scheme + name

    content = CheckpointLoader.load_checkpoint(address('good'), 'cpu')
    (tensor,) = content['state_dict'].values()
    assert torch.equal(tensor, torch.ones(2))
    assert scheme == 'mmcls://' or 'config' not in content['meta']  # it would be run as Python
    for name, why in (
        ('code', r'holds more .* wants to call \w+\.mkdir'),
        ('cut', 'is damaged'),
        ('nan', r'has NaN or infinity in state_dict\.backbone\.a'),
    ):
        cached = f'hub/hub/checkpoints/{name}.pth'
        with pytest.raises(CheckpointError, match=rf'^{address(name)} \(.*{cached}\) {why}') as e:
            CheckpointLoader.load_checkpoint(address(name), 'cpu')
        assert '\n' not in str(e.value)
    with pytest.raises(CheckpointError, match=r'grab\.pth\) holds more'):
        CheckpointLoader.load_checkpoint(address('grab'), 'cpu')
    assert not os.path.exists('bomb_went_off')
    with trust_files():
        CheckpointLoader.load_checkpoint(address('code'), 'cpu')
    assert os.path.isdir('bomb_went_off')


def test_what_is_downloaded_to_memory_is_read_safely(files, monkeypatch):
    """As mmengine reads from Ceph: a stream, with its own list of what is allowed."""

    def load_from_memory(filename, map_location=None):
        with open(filename.removeprefix('memory://'), 'rb') as file:
            return mmengine_loaders._safe_torch_load(file, map_location=map_location)

    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(CheckpointLoader._schemes))
    CheckpointLoader.register_scheme('memory://', load_from_memory)
    install_schemes()
    good = CheckpointLoader.load_checkpoint('memory://server/good.pth', 'cpu')
    assert good['meta']['loss'] == {'log_history': [1], 'count_history': [1], 'max_length': 1000000}
    for name in ('code', 'grab'):
        message = rf'^memory://server/{name}\.pth holds more'
        with pytest.raises(CheckpointError, match=message):
            CheckpointLoader.load_checkpoint(f'memory://server/{name}.pth', 'cpu')
    assert not os.path.exists('bomb_went_off')


def test_what_others_have_allowed_stays_allowed(files):
    with torch.serialization.safe_globals([HistoryBuffer]):
        before = set(torch.serialization.get_safe_globals())
        CheckpointLoader.load_checkpoint('server/good.pth', 'cpu')
        assert set(torch.serialization.get_safe_globals()) == before


def test_unknown_names_are_mmengines_to_complain_about(server, names, files):
    with pytest.raises(KeyError, match='nowhere'):
        CheckpointLoader.load_checkpoint('torchvision://nowhere')
    with pytest.raises(OSError, match='404'):
        CheckpointLoader.load_checkpoint(f'{server}/nowhere.pth')


@pytest.mark.slow
def test_a_plain_script_of_mmdet_loads_torchvisions_weights(server, tmp_path):
    """In a fresh process, that only its config tells of this package."""
    (tmp_path / 'config.py').write_text(
        "custom_imports = dict(imports=['soma'], allow_failed_imports=False)\n"
        "default_scope = 'mmdet'\n"
        "model = dict(type='ResNet', depth=18, base_channels=2, stem_channels=2, num_stages=1,\n"
        '    strides=(1,), dilations=(1,), out_indices=(0,),\n'
        "    init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'))\n"
    )
    program = f"""
import os, torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import checkpoint

class Bomb:
    def __reduce__(self):
        return os.mkdir, ('bomb_went_off',)

urls = []
def torchvisions():
    return dict(resnet50=f'{server}/{{len(urls)}}.pth')
checkpoint.get_torchvision_models = torchvisions
load_url = checkpoint.load_url
checkpoint.load_url = lambda url, **options: urls.append(url) or load_url(url, **options)
config = Config.fromfile('config.py')
init_default_scope(config.default_scope)
state = {{k: torch.full_like(v, 3) for k, v in MODELS.build(config.model).state_dict().items()}}
torch.save(state, 'server/0.pth')
torch.save({{'state_dict': state, 'meta': Bomb()}}, 'server/1.pth')
model = MODELS.build(config.model)
model.init_weights()
assert type(model).__module__.startswith('mmdet.') and len(urls) == 1
assert all(bool((value == 3).all()) for value in model.state_dict().values())
try:
    MODELS.build(config.model).init_weights()
except ValueError as error:
    assert type(error).__name__ == 'CheckpointError', error
    assert str(error).startswith('torchvision://resnet50 ('), error
    assert 'mkdir' in str(error), error
    assert len(urls) == 2 and not os.path.exists('bomb_went_off')
    print('refused')
"""
    done = subprocess.run(
        [sys.executable, '-c', program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.endswith('refused\n'), done.stdout + done.stderr
