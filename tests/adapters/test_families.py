"""The networks of timm, torchvision and transformers: what is adapted, and that it is exact."""

import copy

import pytest
import timm
import torch
import torchvision.models as tv
import transformers as hf
from peft import PeftModel
from timm.models import maxxvit
from torch import nn

from soma.adapters import inject_adapter, load_adapter, merge_adapter, save_adapter
from soma.checkpoints import export_peft, merge_files, open_checkpoint
from soma.io.checkpoint_files import read_state_dict, write_checkpoint
from soma.io.files import CheckpointError

VIT = dict(embed_dim=16, depth=2, num_heads=2, img_size=32, patch_size=8, num_classes=3)
STAGES = dict(depths=(1, 2, 1, 1), num_classes=3)
SWIN = dict(depths=(1, 2), num_heads=(1, 1), num_classes=3)
SWIN |= dict(img_size=32, window_size=4, embed_dim=8)
HF = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
HF |= dict(image_size=32, patch_size=8)
SMALL = dict(hidden_sizes=[8] * 4, depths=[1, 2, 1, 1])
QKVO = tuple(f'attention.{name}_proj' for name in 'qkvo')
MLP = ('mlp.fc1', 'mlp.fc2')
FUSED = ('attn.qkv', 'attn.proj', *MLP)
GRID = [f'attn_{place}.{name}' for place in ('block', 'grid') for name in FUSED]


def segformer():
    config = dict(num_encoder_blocks=2, depths=[1, 2], num_attention_heads=[1] * 2)
    config |= dict(hidden_sizes=[8] * 2, decoder_hidden_size=8)
    return hf.SegformerForSemanticSegmentation(hf.SegformerConfig(**config))


def hf_swin():
    config = dict(image_size=32, patch_size=4, embed_dim=8, window_size=4)
    return hf.SwinForImageClassification(
        hf.SwinConfig(**config, depths=[1, 2], num_heads=[1, 1], num_labels=3)
    )


def tv_swin():
    return tv.SwinTransformer([4, 4], 8, [1, 2], [1, 1], [4, 4], num_classes=3)


def maxvit():
    """In double precision: with random weights, its layers enlarge what is rounded."""
    transformer = maxxvit.MaxxVitTransformerCfg(window_size=(4, 4), dim_head=8)
    sizes = dict(embed_dim=(8, 8), depths=(1, 1), block_type=('M', 'M'), stem_width=8)
    config = maxxvit.MaxxVitCfg(**sizes, transformer_cfg=transformer)
    return maxxvit.MaxxVit(config, img_size=32, num_classes=3).double()


def tv_convnext():
    block = tv.convnext.CNBlockConfig
    return tv.ConvNeXt([block(8, 16, 1), block(16, None, 2)], num_classes=3)


# The network, its last block but one and what is adapted in each, how many layers there are in
# all, how many with all-linear.
FAMILIES = {
    'timm ViT': (lambda: timm.create_model('vit_tiny_patch16_224', **VIT), 'blocks.0', FUSED, 8, 8),
    'timm EVA': (
        lambda: timm.create_model('eva02_base_patch14_224', **VIT),
        'blocks.0',
        [*(f'attn.{n}_proj' for n in 'qkv'), 'attn.proj', 'mlp.fc1_g', 'mlp.fc1_x', 'mlp.fc2'],
        14,
        14,
    ),
    'timm EVA, fused': (
        lambda: timm.create_model('eva02_tiny_patch14_224', **VIT),
        'blocks.0',
        FUSED,
        8,
        8,
    ),
    'timm DINOv3': (
        lambda: timm.create_model('vit_small_patch16_dinov3', **VIT),
        'blocks.0',
        FUSED,
        8,
        8,
    ),
    'timm hybrid': (
        lambda: timm.create_model('vit_tiny_r_s16_p8_224', **VIT),
        'blocks.0',
        FUSED,
        8,
        8,
    ),
    'timm Swin': (
        lambda: timm.create_model('swin_tiny_patch4_window7_224', **SWIN),
        'layers.1.blocks.0',
        FUSED,
        12,
        13,
    ),
    'timm Swin V2': (
        lambda: timm.create_model('swinv2_tiny_window8_256', **SWIN),
        'layers.1.blocks.0',
        FUSED,
        12,
        19,
    ),
    'timm ConvNeXt': (
        lambda: timm.create_model('convnext_tiny', dims=(8,) * 4, **STAGES),
        'stages.2.blocks.0',
        MLP,
        10,
        10,
    ),
    'timm MaxViT': (maxvit, 'stages.1.blocks.0', GRID, 16, 16),
    'timm ResNet': (
        lambda: timm.create_model('resnet18', layers=(1, 2, 1, 1), channels=(8,) * 4),
        'layer3.0',
        ('conv1', 'conv2'),
        10,
        0,
    ),
    'torchvision ViT': (
        lambda: tv.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=3),
        'encoder.layers.encoder_layer_0',
        ('self_attention.in_proj', 'self_attention.out_proj', 'mlp.0', 'mlp.3'),
        8,
        8,
    ),
    'torchvision Swin': (
        tv_swin,
        'features.3.0',
        ('attn.qkv', 'attn.proj', 'mlp.0', 'mlp.3'),
        12,
        13,
    ),
    'torchvision ConvNeXt': (tv_convnext, 'features.3.0', ('block.3', 'block.5'), 6, 6),
    'Dinov2': (
        lambda: hf.Dinov2Model(hf.Dinov2Config(**HF)),
        'encoder.layer.0',
        QKVO + MLP,
        12,
        12,
    ),
    'Dinov2WithRegisters': (
        lambda: hf.Dinov2WithRegistersForImageClassification(
            hf.Dinov2WithRegistersConfig(**HF, use_swiglu_ffn=True)
        ),
        'dinov2_with_registers.encoder.layer.0',
        [*QKVO, 'mlp.gate_proj', 'mlp.up_proj', 'mlp.down_proj'],
        14,
        14,
    ),
    'DINOv3 ViT': (
        lambda: hf.DINOv3ViTModel(hf.DINOv3ViTConfig(**HF)),
        'model.layer.0',
        [*QKVO, 'mlp.up_proj', 'mlp.down_proj'],
        12,
        12,
    ),
    'ViT': (
        lambda: hf.ViTForImageClassification(hf.ViTConfig(**HF)),
        'vit.layers.0',
        QKVO + MLP,
        12,
        12,
    ),
    'Swin': (hf_swin, 'swin.encoder.layers.1.blocks.0', QKVO + MLP, 18, 19),
    'SegFormer': (segformer, 'segformer.stages.1.blocks.0', QKVO + MLP, 18, 20),
    'SigLIP': (
        lambda: hf.SiglipVisionModel(hf.SiglipVisionConfig(**HF)),
        'encoder.layers.0',
        [*(f'self_attn.{n}_proj' for n in ('q', 'k', 'v', 'out')), *MLP],
        12,
        16,  # with the attention that pools: in_proj, out_proj, fc1 and fc2
    ),
    'CLIP': (
        lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**HF)),
        'encoder.layers.0',
        [*(f'self_attn.{n}_proj' for n in ('q', 'k', 'v', 'out')), *MLP],
        12,
        12,
    ),
    'ConvNeXt': (
        lambda: hf.ConvNextForImageClassification(hf.ConvNextConfig(**SMALL)),
        'convnext.encoder.stages.2.layers.0',
        ('pwconv1', 'pwconv2'),
        10,
        10,
    ),
}


def pretrained(make):
    """A network of random weights, which is frozen: attention on a CPU rounds by what trains."""
    torch.manual_seed(0)
    model = make().eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) / 10)
    return model


def output(model):
    torch.manual_seed(1)
    result = model(torch.randn(2, 3, 32, 32).to(next(model.parameters()).dtype))
    if isinstance(result, torch.Tensor):
        return result
    return result.logits if 'logits' in result else result.pooler_output


def train(model):
    """Change all that trains, as training does, and say what did not get a gradient."""
    output(model).square().sum().backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for parameter in trained.values():
        parameter.data += torch.randn_like(parameter) / 5
    return {name for name, p in trained.items() if p.grad is None}


@pytest.mark.parametrize('family', FAMILIES)
def test_families(family, tmp_path):
    make, block, names, count, linear = FAMILIES[family]
    plain = pretrained(make)
    model = copy.deepcopy(plain)
    report = inject_adapter(model, dict(type='SoMA', rank=1))
    layers = [name for name in report.layers if name.startswith(f'{block}.')]
    assert sorted(layers) == sorted(f'{block}.{name}' for name in names)
    assert len(report.layers) == count and not report.frozen_blocks
    with torch.no_grad():
        before = output(plain)
        assert torch.equal(output(model), before)
    assert not train(model)
    with torch.no_grad():
        after = output(model)
        assert (after - before).abs().max() > 1e-3
        save_adapter(model, tmp_path / 'adapter.safetensors')
        again = copy.deepcopy(plain)
        load_adapter(again, tmp_path / 'adapter.safetensors')
        assert torch.equal(output(again), after)
        assert merge_adapter(again) == count
        torch.testing.assert_close(output(again), after, rtol=1e-5, atol=1e-5)
    assert [*again.state_dict()] == [*plain.state_dict()]
    kinds = {name: type(module) for name, module in plain.named_modules()}
    assert kinds.keys() == dict(again.named_modules()).keys()

    last = dict(type='LoRA', rank=1, start_block=report.blocks - 1, train_bias=False)
    frozen = inject_adapter(copy.deepcopy(plain), last).frozen_blocks
    assert frozen == tuple(range(report.blocks - 1))
    every = dict(type='LoRA', rank=1, targets='all-linear')
    if linear:
        assert len(inject_adapter(copy.deepcopy(plain), every).layers) == linear
    else:
        with pytest.raises(ValueError, match=r"'all-linear' finds no linear layer .* ResNet"):
            inject_adapter(copy.deepcopy(plain), every)


def test_all_linear_leaves_out_what_is_too_small():
    """Swin V2 has layers of 2 inputs or 1 output, for its positions."""
    make, *_, count = FAMILIES['timm Swin V2']
    config = dict(type='SoMA', rank=3, targets='all-linear', exclude=r'.+\.reduction')
    layers = inject_adapter(make(), config).layers
    assert len(layers) == count - 6 - 1 and not any('cpb_mlp' in name for name in layers)
    later = inject_adapter(make(), dict(type='SoMA', targets='all-linear', rank=3, start_block=1))
    downsample, *blocks = later.layers  # it stands before the second block
    assert downsample == 'layers.1.downsample.reduction'
    assert blocks == [f'layers.1.blocks.{i}.{name}' for i in (0, 1) for name in FUSED]
    with pytest.raises(ValueError, match=r"layer 'head.1': rank 99"):
        inject_adapter(
            nn.ModuleDict({'head': nn.Sequential(nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 4))}),
            dict(type='SoMA', rank=99, targets=['head.1']),
        )


@pytest.mark.parametrize(
    ('model', 'message'),
    [
        (lambda: nn.Sequential(nn.Linear(4, 4)), r"none are known for Sequential; .*'all-linear'"),
        (
            lambda: nn.ModuleDict({n: FAMILIES['timm ViT'][0]() for n in ('image', 'text')}),
            r"blocks are in several places, \['image\.', 'text\.'\]: choose by targets",
        ),
    ],
)
def test_no_family_fits(model, message):
    with pytest.raises(ValueError, match=message):
        inject_adapter(model(), dict(type='SoMA'))


@pytest.mark.parametrize('method', ['SoMA', 'SVF', 'DoRA', 'BitFit'])
def test_layers_of_attention_that_are_never_called(method, tmp_path):
    """PyTorch's encoder reads all its weights without a gradient, and calls some with one."""
    torch.manual_seed(0)
    plain = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    plain.self_attn.in_proj_bias.data.normal_()
    plain.requires_grad_(False)
    model, x = copy.deepcopy(plain), torch.randn(2, 5, 16)
    names = ['self_attn.in_proj', 'self_attn.out_proj', 'linear1', 'linear2']
    rank = dict(rank=2) if method in ('SoMA', 'DoRA') else {}
    bias = {} if method == 'BitFit' else dict(train_bias=True)
    report = inject_adapter(model, dict(type=method, targets='all-linear', **rank, **bias))
    assert sorted(report.layers) == sorted(names)
    assert sum(report.trainable.values()) == report.trainable['adapted biases'] + sum(
        count for role, count in report.trainable.items() if role.startswith('adapter')
    )
    torch.testing.assert_close(model(x), plain(x), rtol=1e-6, atol=1e-6)
    model = copy.deepcopy(model)
    model(x).square().sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            parameter.data += torch.randn_like(parameter) / 5
    with torch.no_grad():
        after = model(x)
    assert (after - plain(x)).abs().max() > 0.05
    torch.testing.assert_close(model(x), after, rtol=1e-5, atol=1e-5)
    assert not {'self_attn.in_proj.weight', 'self_attn.in_proj.bias'} & model.state_dict().keys()

    save_adapter(model, tmp_path / 'adapter.safetensors')
    write_checkpoint(plain.state_dict(), tmp_path / 'base.safetensors')
    again = copy.deepcopy(plain)
    load_adapter(again, tmp_path / 'adapter.safetensors')
    assert torch.equal(again(x), model(x))
    merge_adapter(again)
    assert not again.self_attn._load_state_dict_pre_hooks and not again._forward_hooks
    files = [tmp_path / f'{name}.safetensors' for name in ('base', 'adapter', 'merged')]
    merge_files(*files)
    plain.load_state_dict(read_state_dict(files[2]))
    for merged in (again, plain):
        torch.testing.assert_close(merged(x), after, rtol=1e-5, atol=1e-5)


def test_attention_is_split_anew_when_plain_weights_are_loaded():
    config = dict(type='SoMA', rank=2)
    pretrained_vit, model = (pretrained(FAMILIES['torchvision ViT'][0]) for _ in range(2))
    pretrained_vit.encoder.layers[0].self_attention.in_proj_weight.mul_(2)
    inject_adapter(model, config)
    model.load_state_dict(pretrained_vit.state_dict())
    with torch.no_grad():
        assert torch.equal(output(model), output(pretrained_vit))
    attention = model.encoder.layers[0].self_attention
    expected = copy.deepcopy(pretrained_vit)
    inject_adapter(expected, config)
    assert torch.equal(attention.in_proj.A, expected.encoder.layers[0].self_attention.in_proj.A)
    assert attention.in_proj.weight is attention.in_proj_weight and attention.in_proj.groups == 3


def classifier():
    model = hf.Dinov2ForImageClassification(hf.Dinov2Config(**HF, num_labels=5))
    return model.eval().requires_grad_(False)


def test_modules_to_save(tmp_path):
    plain = pretrained(classifier)
    model = copy.deepcopy(plain)
    config = dict(type='SoMA', rank=2, start_block=1, modules_to_save='classifier')
    report = inject_adapter(model, config)
    assert report.saved == ('classifier',) and report.trainable['classifier'] == 5 * 33
    assert 'trained whole: classifier' in str(report)
    train(model)
    after = output(model).detach()
    files = [tmp_path / f'{name}.safetensors' for name in ('base', 'adapter', 'merged')]
    save_adapter(model, files[1])
    checkpoint = open_checkpoint(files[1])
    assert (checkpoint.card.modules_to_save, checkpoint.card.start_block) == (['classifier'], 1)
    assert torch.equal(checkpoint.tensors['classifier.weight'], model.classifier.weight)

    other_head = copy.deepcopy(plain)
    nn.init.ones_(other_head.classifier.weight)  # a new head is no part of the base
    assert load_adapter(other_head, files[1]).saved == ('classifier',)
    assert other_head.classifier.weight.requires_grad
    assert torch.equal(output(other_head), after)
    merge_adapter(other_head)
    assert not hasattr(other_head.classifier, 'saved_with_adapter')
    write_checkpoint(plain.state_dict(), files[0])
    merge_files(*files)
    merged = copy.deepcopy(plain)
    merged.load_state_dict(read_state_dict(files[2]))
    export_peft(files[1], tmp_path / 'peft', files[0], 'same')
    exported = PeftModel.from_pretrained(copy.deepcopy(plain), tmp_path / 'peft').eval()
    for result in (other_head, merged, exported):
        torch.testing.assert_close(output(result), after, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(modules_to_save='head'), "'head' matches no module of Dinov2ForImage.*classifier"),
        (dict(modules_to_save='dinov2.encoder', targets='.+q_proj'), 'both in the targets and in'),
        (dict(modules_to_save=7), 'modules_to_save must be a regular expression'),
        (dict(modules_to_save=r'.+\.dropout'), 'has no parameters to save'),
        (dict(type='Rein', targets='auto'), "targets of Rein are blocks, not 'auto'"),
    ],
)
def test_wrong_modules_to_save(options, message):
    with pytest.raises(ValueError, match=message):
        inject_adapter(classifier(), {'type': 'SoMA', **options})


def test_peft_of_convolutions_and_of_attention(tmp_path):
    files = [tmp_path / f'{name}.safetensors' for name in ('base', 'adapter')]

    def trained(family):
        plain = pretrained(FAMILIES[family][0])
        write_checkpoint(plain.state_dict(), files[0])
        model = copy.deepcopy(plain)
        inject_adapter(model, dict(type='LoRA', rank=2))
        train(model)
        save_adapter(model, files[1])
        return plain, output(model).detach()

    plain, after = trained('timm ResNet')
    export_peft(files[1], tmp_path / 'peft', files[0], 'same')
    exported = PeftModel.from_pretrained(plain, tmp_path / 'peft').eval()
    torch.testing.assert_close(output(exported), after, rtol=1e-4, atol=1e-5)
    with pytest.raises(CheckpointError, match=r'as base \(--base\)$'):
        export_peft(files[1], tmp_path / 'no_base', base_model='same')
    for family, layer in (('torchvision ViT', 'in_proj'), ('torchvision Swin', 'proj')):
        trained(family)
        with pytest.raises(CheckpointError, match=rf'{layer}: its attention reads the weight'):
            export_peft(files[1], tmp_path / family, files[0], 'same')
