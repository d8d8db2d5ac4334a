"""The notebooks of docs/notebooks run, on a small model."""

import nbformat
import pytest
import timm
import torch
from nbclient import NotebookClient

from soma.io.checkpoint_files import read_checkpoint
from soma.utils.config import REPOSITORY

pytestmark = pytest.mark.slow

NOTEBOOKS = REPOSITORY / 'docs' / 'notebooks'


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a notebook in a folder; what its cells have printed, with lines put in behind a cell."""
    monkeypatch.setenv('PYTHONPATH', str(REPOSITORY))

    def run(name, beginning, lines):
        notebook = nbformat.read(NOTEBOOKS / name, 4)
        nbformat.validate(notebook)
        assert not any(cell.get('outputs') for cell in notebook.cells)
        (settings,) = (cell for cell in notebook.cells if beginning in cell.source)
        settings.source += f'\n{lines}'
        resources = {'metadata': {'path': str(tmp_path)}}
        NotebookClient(notebook, timeout=400, resources=resources).execute()
        outputs = [output for cell in notebook.cells for output in cell.get('outputs', ())]
        return ''.join(output.get('text', '') for output in outputs), outputs

    return run


SMALL = """
arch = dict(_delete_=True, embed_dim=16, depth=4, num_heads=2)
model['backbone'].update(arch=arch, out_indices=[0, 1, 2, 3], init_cfg=dict(checkpoint='{}'))
model['backbone']['adapter'].update(rank=2, start_block=2)
model.update(neck=dict(in_channels=[16] * 4, out_channels=8))
norm = dict(type='GN', num_groups=2)
train_cfg['val_interval'] = default_hooks['checkpoint']['interval'] = 10
model['decode_head'] = dict(in_channels=[8] * 4, channels=8, norm_cfg=norm)
train_dataloader.update(num_workers=0, persistent_workers=False)
val_dataloader.update(num_workers=0, persistent_workers=False)
"""


def test_own_data(run, tmp_path, public_file):
    lines = f'STEPS, CHANGES = 10, """{SMALL.format(public_file)}"""'
    text, outputs = run('own_data.ipynb', 'DATA, STEPS, PYTHON', lines)
    assert 'images: 19 train, 5 val' in text and 'disc' in text
    assert 'error' not in text.lower()
    assert (tmp_path / 'work_dirs/my_data/iter_10.pth').exists()
    assert any('image/png' in output.get('data', {}) for output in outputs)


def test_adapt_any_model(run, tmp_path):
    lines = "PRETRAINED, NAME, SIZE, STEPS = False, 'test_vit', 160, 20"
    text, _ = run('adapt_any_model.ipynb', 'PRETRAINED = True', lines)
    assert float(text.rpartition('largest change: ')[2]) < 1e-4
    model = timm.create_model('test_vit', num_classes=2)
    model.load_state_dict(torch.load(tmp_path / 'merged.pth', weights_only=True))
    assert 'head.weight' in read_checkpoint(tmp_path / 'adapter.safetensors')['state_dict']
