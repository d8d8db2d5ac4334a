"""The spectrum and the drift of files of all kinds, and the script that shows them."""

import json
import re

import pytest
import torch
from PIL import Image

from soma.checkpoints import (
    convert_dinov2_file,
    drift,
    extract_adapter,
    merge_files,
    open_checkpoint,
    total_drift,
    weight_matrices,
)
from soma.checkpoints.analysis import analyze_file
from soma.io.checkpoint_files import read_state_dict, write_checkpoint


@pytest.fixture
def converted(public_file, tmp_path):
    convert_dinov2_file(public_file, tmp_path / 'converted.pth', (32, 32), 8)
    return tmp_path / 'converted.pth'


@pytest.fixture
def train(tiny_config, build_runner, converted):
    """Train for two steps on the converted file; returns the checkpoint."""
    tiny_config.model.backbone.init_cfg.checkpoint = str(converted)

    def train(**options):
        options['train_cfg.max_iters'] = options['default_hooks.checkpoint.interval'] = 2
        build_runner(tiny_config, options).train()
        return f'{tiny_config.work_dir}/iter_2.pth'

    return train


@pytest.fixture
def analyze(run_here, tmp_path, capsys):
    """Run the script; returns what it wrote to ``spectrum.json``, its output and its warnings."""

    def analyze(*arguments):
        run_here('analysis_tools/analyze_spectrum.py', *arguments, '--out', tmp_path / 'out')
        printed = capsys.readouterr()
        return json.loads((tmp_path / 'out/spectrum.json').read_text()), printed.out, printed.err

    return analyze


@pytest.mark.slow
def test_every_file_of_a_training_has_the_same_drift(
    train, analyze, converted, public_file, tmp_path
):
    final = train(**{'default_hooks.checkpoint.type': 'AdapterCheckpointHook'})
    extract_adapter(final, tmp_path / 'adapter.safetensors')
    merge_files(converted, tmp_path / 'adapter.safetensors', tmp_path / 'merged.pth')
    found, printed, warned = analyze(
        tmp_path / 'adapter.safetensors', '--against', converted, '--rank', '4'
    )
    trained = weight_matrices(open_checkpoint(final).with_base(converted).plain())
    expected = drift(weight_matrices(read_state_dict(converted)), trained, rank=4)
    assert list(found['drift']) == list(expected) and len(expected) == 24
    assert found['rank'] == 4 and not found['left_out'] and 'not compared' not in warned
    for name, each in found['drift'].items():
        assert each['change'] == expected[name].change
        assert (each['change'] > 0) == name.startswith(('blocks.2', 'blocks.3'))
        assert each['shares'] == expected[name].shares._asdict()
        values = torch.linalg.svdvals(trained[name].double()).tolist()
        assert found['spectra'][name]['values'] == pytest.approx(values)
    assert found['total_drift']['change'] == total_drift(expected.values()).change
    learned = found['drift']['blocks.3.mlp.fc2']['learned']
    assert learned['rank'] == 2 and learned['minor'] == expected['blocks.3.mlp.fc2'].learned.minor
    row = re.search(r'^│ blocks\.3\.mlp\.fc2 .*$', printed.partition('change from')[2], re.M)[0]
    assert f'{100 * expected["blocks.3.mlp.fc2"].change:.3g}' in row
    for image in ('spectrum.png', 'drift.png', 'learned.png'):
        with Image.open(tmp_path / 'out' / image) as image:
            assert min(image.size) > 300

    files = {final: converted, tmp_path / 'merged.pth': public_file}
    files[tmp_path / 'adapter.safetensors'] = public_file  # of other patches and images
    for file, base in files.items():
        again, *_ = analyze(file, '--against', base, '--rank', '4')
        for drifts in (again['drift'], found['drift']):
            for each in drifts.values():
                (each['learned'] or {}).pop('rank', None)  # which a merged file does not tell
        assert again['drift'] == found['drift']
    swapped, *_ = analyze(converted, '--against', final, '--backbone', public_file)
    changes = {name: each['change'] > 0 for name, each in swapped['drift'].items()}
    assert changes == {name: each['change'] > 0 for name, each in found['drift'].items()}


@pytest.mark.parametrize('method', ['SVF', 'BitFit', 'LoRA', 'DoRA', 'RecycleLoRA'])
def test_the_change_of_other_methods(train, converted, method):
    adapter = {'_delete_': True, 'type': method, 'start_block': 2}
    if method not in ('SVF', 'BitFit'):
        adapter['rank'] = 1
    final = train(**{'model.backbone.adapter': adapter})
    total = total_drift(analyze_file(final, converted).drift.values())
    assert (total.change > 1e-4) == (method != 'BitFit')
    if method == 'SVF':  # the vectors stay
        assert total.shares.principal + total.shares.minor == pytest.approx(1, abs=1e-4)
    elif method != 'BitFit':
        assert min(total.shares) > 0.01
    ranks = {'LoRA': 1, 'RecycleLoRA': 5}  # of which a change has up to two
    if method in ranks:
        assert total.learned.rank == ranks[method] and 0 < total.learned.used <= 2


@pytest.mark.slow
def test_a_frozen_backbone_has_not_moved(train, analyze, run_here, converted, monkeypatch):
    options = {'default_hooks.checkpoint.type': 'AdapterCheckpointHook'}
    options |= {'model.backbone.adapter': None, 'model.backbone.frozen_blocks': 4}
    final = train(**options)
    assert not any(n.startswith('backbone.') for n in read_state_dict(final))
    found, *_ = analyze(final, '--against', converted)
    assert len(found['drift']) == 24 and found['total_drift']['change'] == 0
    found, *_ = analyze(final)  # with the file that the card names
    assert len(found['spectra']) == 24
    message = rf'name their file as base \(--base\) \(in training it was {converted}\)'
    with pytest.raises(SystemExit, match=message):  # of which base?
        run_here('analysis_tools/analyze_spectrum.py', final, '--force')
    monkeypatch.setattr('soma.checkpoints.complete._files_of_card', lambda checkpoint: [])
    with pytest.raises(SystemExit, match=message):
        run_here('analysis_tools/analyze_spectrum.py', final)


def test_any_module_alone(analyze, tmp_path):
    shapes = {'conv1.weight': (4, 3, 3, 3), 'bn1.weight': (4,), 'fc.weight': (10, 8)}
    for stage in (1, 2):
        for block in range(20):
            shapes[f'layer{stage}.{block}.conv1.weight'] = (8, 4, 3, 3)
            shapes[f'layer{stage}.{block}.downsample.0.weight'] = (8, 4, 1, 1)
    write_checkpoint(
        {name: torch.randn(shape) for name, shape in shapes.items()}, tmp_path / 'resnet.pth'
    )
    found, printed, _ = analyze(tmp_path / 'resnet.pth')
    assert len(found['spectra']) == 82 and found['spectra']['conv1']['shape'] == [4, 27]
    rows = re.findall(r'^│ (\S+) +│ +(\d+)', printed, re.M)  # blocks, since they are many
    blocks = [(f'layer{stage}.{block}', '2') for stage in (1, 2) for block in range(20)]
    assert rows == [('conv1', '1'), ('fc', '1'), *blocks, ('all', '82')]
    assert found['drift'] == {} and found['total_drift'] is None
    assert not (tmp_path / 'out/drift.png').exists() and (tmp_path / 'out/spectrum.png').exists()


def test_what_does_not_fit_is_said(analyze, run_here, converted, tmp_path):
    state = read_state_dict(converted)
    state['blocks.0.mlp.fc1.weight'] = torch.randn(3, 16)
    del state['blocks.1.attn.proj.weight']
    write_checkpoint(state, tmp_path / 'other.pth')
    found, _, warned = analyze(tmp_path / 'other.pth', '--against', converted)
    assert found['left_out'] == {
        'blocks.0.mlp.fc1': '[64, 16] in the base, [3, 16] here',
        'blocks.1.attn.proj': 'only in the base',
    }
    (line,) = [line for line in warned.splitlines() if line.startswith('warning')]
    assert 'blocks.0.mlp.fc1 (' in line and 'blocks.1.attn.proj (only in the base)' in line
    assert len(found['drift']) == 22

    write_checkpoint({'fc.weight': torch.ones(2, 2)}, tmp_path / 'fc.pth')
    cases = {
        'error: no layer can be compared': [tmp_path / 'fc.pth', '--against', converted],
        r'error: .*fc\.pth: no layer fits': [tmp_path / 'fc.pth', '--layers', 'x'],
        'error: rank must be at least 1|layer .*rank must': [tmp_path / 'fc.pth', '--rank', '0'],
        r'error: .*folder .*fc\.pth \(File exists\)': [converted, '--out', tmp_path / 'fc.pth'],
        'error: no checkpoint at': [tmp_path / 'nowhere.pth'],
    }
    for message, arguments in cases.items():
        with pytest.raises(SystemExit, match=message):
            run_here('analysis_tools/analyze_spectrum.py', *arguments)
