"""Exported adapters and models give, in the software that they are for, what ours gives."""

import copy
import json
import re

import onnxruntime
import pytest
import torch
from dinov2_names import to_timm, to_transformers
from mmengine.registry import MODELS, init_default_scope
from peft import PeftModel
from safetensors.torch import save_file
from small_configs import SMALL
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from transformers import (
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
)

from soma.adapters import inject_adapter, save_adapter
from soma.adapters.low_rank import LOW_RANK
from soma.checkpoints import export_backbone, export_peft, merge_files, open_checkpoint
from soma.checkpoints.export.onnx import export_onnx
from soma.checkpoints.export.peft import _loras
from soma.io.checkpoint_files import CheckpointError, read_state_dict, write_checkpoint
from soma.models import DINOv2
from soma.models.backbones.vit_layers import SwiGLU
from soma.utils.config import load_config

DIM = dict(embed_dim=16, depth=4, num_heads=2)
KINDS = {
    'plain': {},
    'alpha': dict(alpha=5.0),
    'no bias': dict(train_bias=False),
    'release': dict(release=True),
    'swiglu': dict(swiglu=True),
    'registers': dict(registers=4),
}


@pytest.fixture(params=KINDS)
def trained(request, tmp_path):
    """An adapted backbone of random weights, and its files."""
    return make(tmp_path, **KINDS[request.param])


def make(folder, swiglu=False, registers=0, release=False, **adapter):
    options = dict(img_size=32, patch_size=8, out_indices=range(4), pyramid=(1,) * 4)
    arch = {**DIM, 'init_values': 1.0, **(dict(mlp_layer=SwiGLU) if swiglu else {})}
    model = DINOv2(
        arch, registers=registers, adapter=dict(type='SoMA', rank=2, **adapter), **options
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) / 8)
        model.init_weights()
        own = model.state_dict()
        base = {k: v.clone() for k, v in own.items() if k.split('.')[-1] not in LOW_RANK}
        write_checkpoint(base, folder / 'base.pth')
        for name, value in own.items():
            if release and name.endswith(('.A0', '.B0')):
                value.zero_()
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) / 8)
    save_adapter(model, folder / 'adapter.safetensors')
    return model.eval()


def transformers_model(state, folder):
    """transformers' network with weights under the public names, read from a folder."""
    folder.mkdir()
    size = dict(hidden_size=16, num_hidden_layers=4, num_attention_heads=2)
    size |= dict(image_size=32, patch_size=8, use_swiglu_ffn='blocks.0.mlp.w12.weight' in state)
    if 'register_tokens' in state:
        config, model = Dinov2WithRegistersConfig(**size), Dinov2WithRegistersModel
        config.num_register_tokens = 4
    else:
        config, model = Dinov2Config(**size), Dinov2Model
    config.save_pretrained(folder)
    tensors = to_transformers({**state, 'mask_token': torch.zeros(1, 16)})
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / 'model.safetensors')
    return model.from_pretrained(folder, attn_implementation='eager').eval()


def plain_vit(state):
    """timm's network with weights under timm's names."""
    options = dict(DIM, img_size=32, patch_size=8, init_values=1, num_classes=0)
    if 'reg_token' in state:
        options |= dict(reg_tokens=4, no_embed_class=True)
    if state['blocks.0.mlp.fc1.weight'].shape[0] == 2 * state['blocks.0.mlp.fc2.weight'].shape[1]:
        from timm.layers import SwiGLUPacked

        hidden = state['blocks.0.mlp.fc1.weight'].shape[0]
        options |= dict(mlp_layer=SwiGLUPacked, act_layer=nn.SiLU, mlp_ratio=hidden / 16)
    model = VisionTransformer(**options)
    model.load_state_dict(state)
    return model.eval()


def installed(model):
    """What the export calls the names of the transformers that is installed."""
    new = any(name.endswith('q_proj') for name, _ in model.named_modules())
    return 'transformers' if new else 'transformers-old'


def assert_maps_equal(ours, theirs, tolerance):
    for one, other in zip(ours, theirs, strict=True):
        assert other.std() > 0.1
        assert (one - other).abs().max() <= tolerance


def test_peft_on_transformers(trained, tmp_path):
    x = torch.randn(2, 3, 32, 32)
    base = transformers_model(read_state_dict(tmp_path / 'base.pth'), tmp_path / 'base')
    files = (tmp_path / 'adapter.safetensors', tmp_path / 'peft', tmp_path / 'base.pth')
    export_peft(*files, installed(base), base_name=str(tmp_path / 'base'))
    model = PeftModel.from_pretrained(base, tmp_path / 'peft').eval()
    assert model.peft_config['default'].base_model_name_or_path == str(tmp_path / 'base')
    for network in (model, model.merge_and_unload()):
        with torch.no_grad():
            states = network(x, output_hidden_states=True).hidden_states[1:]
        skip = states[0].shape[1] - 16
        maps = [s[:, skip:].transpose(1, 2).unflatten(2, (4, 4)) for s in states]
        assert_maps_equal(trained(x), maps, 1e-4)


def test_peft_on_timm(trained, tmp_path):
    x = torch.randn(2, 3, 32, 32)
    model = plain_vit(to_timm(read_state_dict(tmp_path / 'base.pth')))
    files = (tmp_path / 'adapter.safetensors', tmp_path / 'peft', tmp_path / 'base.pth')
    export_peft(*files, 'timm')
    model = PeftModel.from_pretrained(model, tmp_path / 'peft').merge_and_unload()
    with torch.no_grad():
        maps = model.forward_intermediates(x, intermediates_only=True)
    assert_maps_equal(trained(x), maps, 1e-4)


class Tree(nn.Module):
    """Linear layers at the names of a state dict."""

    def __init__(self, state, names):
        super().__init__()
        for name in names:
            *parents, last = name.split('.')
            module = self
            for parent in parents:
                if not hasattr(module, parent):
                    module.add_module(parent, nn.Module())
                module = getattr(module, parent)
            rows, columns = state[f'{name}.weight'].shape
            module.add_module(last, nn.Linear(columns, rows))
        self.load_state_dict({k: state[k] for k in self.state_dict()})


def test_peft_under_the_older_names_of_transformers(trained, tmp_path):
    base, full = tmp_path / 'base.pth', tmp_path / 'full.pth'
    files = (tmp_path / 'adapter.safetensors', tmp_path / 'peft', base)
    names = export_peft(*files, 'transformers-old')['target_modules']
    export_backbone(tmp_path / 'adapter.safetensors', full, 'dinov2', base)
    tree = Tree(to_transformers(read_state_dict(base)), names)
    expected = to_transformers(read_state_dict(full))
    merged = PeftModel.from_pretrained(tree, tmp_path / 'peft').merge_and_unload().state_dict()
    assert len(merged) == 2 * len(names)
    for name, value in merged.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-5)


def test_the_rank_is_doubled_only_where_something_was_subtracted(tmp_path):
    for release, rank in ((False, 4), (True, 2)):
        folder = tmp_path / str(release)
        folder.mkdir()
        make(folder, release=release, alpha=6.0)
        files = (folder / 'adapter.safetensors', folder / 'peft', folder / 'base.pth')
        config = export_peft(*files)
        assert config == json.loads((folder / 'peft' / 'adapter_config.json').read_text())
        assert (config['r'], config['lora_alpha']) == (rank, 3.0 * rank)


def test_ranks_that_rise_have_one_scale_in_peft(tmp_path):
    net = nn.Module()
    net.blocks = nn.ModuleList([nn.ModuleDict({'proj': nn.Linear(8, 12)}) for _ in range(21)])
    config = dict(type='SoMA', rank=1, alpha=3, rank_ramp=True, train_bias=False)
    inject_adapter(net, {**config, 'targets': r'blocks\.\d+\.proj'})
    for name, parameter in net.named_parameters():
        parameter.data += 0.1 * name.endswith(('.A', '.B'))
    save_adapter(net, tmp_path / 'ramp.pth')
    loras = dict(_loras(open_checkpoint(tmp_path / 'ramp.pth'), None, False))
    assert len(loras) == 21
    for name, (lora,) in loras.items():
        change = net.get_submodule(name).delta()
        assert torch.allclose(3 * lora.B @ lora.A, change, atol=1e-6)


@pytest.mark.parametrize('ranks', [(2, 1), (2, 0), (0, 1)])
def test_two_adapters_of_a_layer_are_one_in_peft(tmp_path, ranks):
    net = nn.Sequential(nn.Linear(8, 12))
    write_checkpoint(net.state_dict(), tmp_path / 'base.pth')
    plain = copy.deepcopy(net)
    options = dict(zip(('rank', 'sub_rank'), ranks, strict=True))
    inject_adapter(net, dict(type='RecycleLoRA', targets='0', alpha=3.0, **options))
    for parameter in net[0].adapter_parameters().values():
        parameter.data += torch.randn_like(parameter)
    save_adapter(net, tmp_path / 'adapter.safetensors')
    files = (tmp_path / 'adapter.safetensors', tmp_path / 'peft', tmp_path / 'base.pth')
    assert export_peft(*files, 'same')['r'] == 2 * sum(ranks)
    theirs, x = PeftModel.from_pretrained(plain, tmp_path / 'peft'), torch.randn(5, 8)
    assert torch.allclose(theirs(x), net(x), atol=1e-5)


def test_a_merged_backbone_in_timm(trained, tmp_path):
    x = torch.randn(2, 3, 32, 32)
    files = (tmp_path / 'adapter.safetensors', tmp_path / 'timm.safetensors')
    export_backbone(*files, 'timm', tmp_path / 'base.pth')
    model = plain_vit(read_state_dict(tmp_path / 'timm.safetensors'))
    with torch.no_grad():
        assert_maps_equal(trained(x), model.forward_intermediates(x, intermediates_only=True), 1e-4)


def test_a_merged_backbone_under_the_public_names(trained, tmp_path):
    x = torch.randn(2, 3, 32, 32)
    files = (tmp_path / 'adapter.safetensors', tmp_path / 'public.pth')
    export_backbone(*files, 'dinov2', tmp_path / 'base.pth')
    state = read_state_dict(tmp_path / 'public.pth')
    assert state.keys() == read_state_dict(tmp_path / 'base.pth').keys() | {'mask_token'}
    assert state['mask_token'].shape == (1, 16)
    model = transformers_model(state, tmp_path / 'hf')
    with torch.no_grad():
        states = model(x, output_hidden_states=True).hidden_states[1:]
    skip = states[0].shape[1] - 16
    maps = [s[:, skip:].transpose(1, 2).unflatten(2, (4, 4)) for s in states]
    assert_maps_equal(trained(x), maps, 1e-4)


def test_what_is_missing_is_asked_for(tmp_path):
    make(tmp_path)
    adapter, out = tmp_path / 'adapter.safetensors', tmp_path / 'out'
    with pytest.raises(CheckpointError, match=r'trained biases.*--base'):
        export_peft(adapter, out)
    with pytest.raises(CheckpointError, match=r'holds no pretrained weights: .*\(--base\)'):
        export_backbone(adapter, tmp_path / 'out.pth', 'timm')
    with pytest.raises(CheckpointError, match='holds no adapter to export'):
        export_peft(tmp_path / 'base.pth', out)
    assert {file.name for file in tmp_path.iterdir()} == {'base.pth', 'adapter.safetensors'}
    out.mkdir()
    with pytest.raises(FileExistsError, match='out exists: remove it'):
        export_peft(adapter, out, tmp_path / 'base.pth')


@pytest.mark.parametrize(
    'arguments',
    ['--to timm --window 32 32', '--to timm --dynamic', '--to onnx --base-name x', '--to onnx'],
)
def test_an_option_of_another_target_is_refused(run_here, arguments, capsys):
    with pytest.raises(SystemExit, match='2'):
        run_here('export_adapter.py', 'a.safetensors', 'out.pth', *arguments.split())
    assert re.search('belongs to --to|needs --config', capsys.readouterr().err)


def test_a_merged_file_knows_where_its_backbone_is(tmp_path):
    make(tmp_path)
    files = [tmp_path / name for name in ('base.pth', 'adapter.safetensors', 'merged.pth')]
    merge_files(*files)
    export_backbone(files[2], tmp_path / 'merged_timm.pth', 'timm')
    export_backbone(files[1], tmp_path / 'timm.pth', 'timm', files[0])
    ours, theirs = (read_state_dict(tmp_path / name) for name in ('merged_timm.pth', 'timm.pth'))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_another_base_is_refused(tmp_path):
    make(tmp_path)
    state = read_state_dict(tmp_path / 'base.pth')
    state['blocks.0.norm1.weight'] += 1
    write_checkpoint(state, tmp_path / 'other.pth')
    files = (tmp_path / 'adapter.safetensors', tmp_path / 'out', tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match='was trained on the pretrained weights'):
        export_peft(*files)
    export_peft(*files, force=True)


def test_onnx(tiny_config, build_runner, run_here, config_file, tmp_path, capsys):
    tiny_config.work_dir = str(tmp_path / 'work')
    build_runner(tiny_config).train()
    window = ('--window', '32', '48')
    arguments = ('--to', 'onnx', '--config', config_file, *window)
    run_here('export_adapter.py', tmp_path / 'work' / 'iter_4.pth', 'out.onnx', *arguments)
    (printed,) = re.findall(r'largest difference from PyTorch: (\S+)\n', capsys.readouterr().out)
    assert float(printed) <= 1e-3
    session = onnxruntime.InferenceSession(tmp_path / 'elsewhere' / 'out.onnx')
    image = torch.rand(1, 3, 32, 48) * 255
    (scores,) = session.run(None, {'image': image.numpy()})
    runner = build_runner(tiny_config, {'load_from': str(tmp_path / 'work' / 'iter_4.pth')})
    runner.load_or_resume()
    model = runner.model.eval()
    mean, std = (getattr(model.data_preprocessor, n).view(3, 1, 1) for n in ('mean', 'std'))
    with torch.no_grad():
        expected = model((image - mean) / std, mode='tensor')
        expected = nn.functional.interpolate(expected, (32, 48), mode='bilinear')
    assert (torch.from_numpy(scores) - expected).abs().max() <= 1e-3


@pytest.mark.slow
def test_onnx_of_mask2former(tmp_path):
    config = load_config(SMALL / 'small_mask2former.py')
    config.model.backbone.update(init_cfg=None, img_size=64)
    config.model.data_preprocessor.size = (64, 64)
    init_default_scope('mmseg')
    model = MODELS.build(config.model)
    write_checkpoint({'state_dict': model.state_dict()}, tmp_path / 'model.pth')
    files = (config, tmp_path / 'model.pth', tmp_path / 'model.onnx')
    assert export_onnx(*files, (64, 64)).difference <= 1e-4
    with pytest.raises(RuntimeError, match='no export for images of any size; leave --dynamic'):
        export_onnx(*files, dynamic=True)


def test_no_onnx_of_detectors(tiny_detector, tmp_path):
    with pytest.raises(RuntimeError, match='only segmentors can be exported'):
        export_onnx(tiny_detector, tmp_path / 'x.pth', tmp_path / 'x.onnx')
