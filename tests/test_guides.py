"""The worked examples of the guides run, in a folder outside of the package."""

import re
import textwrap
from pathlib import Path

import numpy as np
import peft
import timm
import torch
import torchvision
import transformers
from mmengine.config import Config
from peft import PeftModel
from PIL import Image
from timm.models.vision_transformer import VisionTransformer

from soma.adapters import (
    AdapterLayer,
    inject_adapter,
    load_adapter,
    merge_adapter,
    save_adapter,
)
from soma.checkpoints import average_files, export_peft, extract_adapter, open_checkpoint
from soma.io.checkpoint_files import write_checkpoint
from soma.models.backbones.timm_network import create_network
from soma.utils.config import REPOSITORY

GUIDES = REPOSITORY / 'docs' / 'advanced_guides'


def write_domain(folder, classes):
    for name in ('images', 'labels'):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(2):
        labels = rng.integers(0, classes, (40, 48), np.uint8)
        image = rng.integers(0, 256, (40, 48, 3), np.uint8)
        Image.fromarray(image).save(folder / 'images' / f'{index}.jpg')
        Image.fromarray(labels).save(folder / 'labels' / f'{index}.png')


def train_and_test(build_runner, config):
    runner = build_runner(Config.fromfile(config), {'train_cfg.max_iters': 1})
    runner.train()
    return runner, runner.test()


def test_add_dataset_by_a_config(example, build_runner):
    folder = example('add_dataset.md')
    write_domain(folder / 'data/mycity', 19)
    _, scores = train_and_test(build_runner, 'gta2mycity.py')
    assert 0 <= scores['mycity_mIoU'] <= 100 and scores['mycity_mIoU'] == scores['mean_mIoU']
    assert not any(name.startswith('citys') for name in scores)


def test_own_data(example, build_runner):
    folder = example('../user_guides/datasets.md')
    write_domain(folder / 'data/harbour', 3)
    runner, scores = train_and_test(build_runner, 'soma_harbour.py')
    assert 0 <= scores['harbour_mIoU'] <= 100
    (metric,) = runner.test_evaluator.metrics
    assert [*metric.report['domains']['harbour']['IoU']] == ['water', 'quay', 'ship']


def test_add_metric(example, build_runner, run_here):
    folder = example('add_metric.md')
    runner, scores = train_and_test(build_runner, 'soma_confidence.py')
    for domain in ('citys', 'fog'):
        assert 100 / 19 < scores[f'{domain}_confidence'] <= 100
        assert f'{domain}_mIoU' in scores
    checkpoint = Path(runner.work_dir) / 'iter_1.pth'
    run_here('test.py', folder / 'soma_confidence.py', '--checkpoint', checkpoint, '--out', 'masks')
    assert sorted(path.name for path in Path('masks').iterdir()) == ['citys', 'fog']


def small_fpn(widths):
    neck = dict(type='FPN', in_channels=widths, out_channels=8, num_outs=4)
    head = dict(
        type='FPNHead',
        in_channels=[8] * 4,
        in_index=[0, 1, 2, 3],
        feature_strides=[4, 8, 16, 32],
        channels=8,
        num_classes=19,
        loss_decode=dict(type='CrossEntropyLoss'),
    )
    return dict(neck=neck, decode_head=head)


def test_add_a_vision_transformer_of_timm(example, build_runner):
    sizes = dict(embed_dim=16, depth=4, num_heads=2)
    backbone = dict(
        type='TimmVisionTransformer',
        model_name='vit_small_patch16_dinov3',
        out_indices=(0, 1, 2, 3),
        model_args=sizes,
        adapter=dict(type='SoMA', rank=2, start_block=1),
        init_cfg=dict(type='Pretrained', checkpoint=''),
    )
    folder = example('add_backbone.md', backbone=backbone, **small_fpn([16] * 4))
    assert len((folder / 'soma_pe.py').read_text().splitlines()) < 10
    name = Config.fromfile('soma_pe.py').name
    weights = create_network(name, sizes).state_dict()  # of patches of 14
    write_checkpoint(weights, folder / f'checkpoints/{name}.fb.safetensors')
    runner, scores = train_and_test(build_runner, 'soma_pe.py')
    assert 'citys_mIoU' in scores and runner.model.backbone.arch == name
    assert runner.model.backbone.patch_embed.patch_size == (16, 16)
    assert runner.model.data_preprocessor.mean.flatten().tolist() == [127.5] * 3


def test_add_a_hierarchical_network_of_timm(example, build_runner):
    sizes = dict(depths=(1, 2, 4, 4), num_heads=(1, 1, 2, 2), embed_dim=8, window_size=3)
    pyramid = dict(
        type='TimmPyramid',
        model_name='convnext_large',
        model_args=sizes,
        init_cfg=dict(type='Pretrained', checkpoint=''),
    )
    backbone = dict(
        type='AdaptedBackbone', backbone=pyramid, adapter=dict(type='SoMA', rank=2, start_block=0)
    )
    folder = example('add_backbone.md', backbone=backbone, **small_fpn([8, 16, 32, 64]))
    name = Config.fromfile('soma_swin.py').name
    weights = create_network(name, sizes).state_dict()
    write_checkpoint(weights, folder / f'checkpoints/{name}.ms_in22k.safetensors')
    runner, scores = train_and_test(build_runner, 'soma_swin.py')
    assert 'citys_mIoU' in scores
    assert {n for n, p in runner.model.backbone.named_parameters() if p.requires_grad} == {
        f'layers.3.blocks.{block}.{layer}.{tensor}'
        for block in (1, 2, 3)
        for layer in ('attn.qkv', 'attn.proj', 'mlp.fc1', 'mlp.fc2')
        for tensor in ('A', 'B', 'bias')
    }


def test_add_backbone(example, build_runner):
    folder = example('add_backbone.md', **small_fpn([16] * 4))
    from mixer import Mixer

    pretrained = Mixer()
    write_checkpoint(pretrained.state_dict(), folder / 'checkpoints/mixer.pth')
    runner, scores = train_and_test(build_runner, 'soma_mixer.py')
    assert 'citys_mIoU' in scores
    backbone = runner.model.backbone
    layers = {n: m for n, m in backbone.named_modules() if isinstance(m, AdapterLayer)}
    assert sorted(layers) == sorted(f'blocks.{i}.fc{k}' for i in range(4) for k in (1, 2))
    trained = backbone.state_dict()
    for name, value in pretrained.state_dict().items():
        changed = not torch.equal(trained[name], value)
        assert changed == any(name == f'{layer}.bias' for layer in layers), name
    for layer in layers.values():
        assert not torch.equal(layer.A, layer.A0) or not torch.equal(layer.B, layer.B0)


def vision_transformer():
    torch.manual_seed(1)
    model = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=16, depth=4, num_heads=2, num_classes=0
    )
    return model.eval()


def test_add_adapter(example):
    folder = example('add_adapter.md')
    assert len((folder / 'lora_fa.py').read_text().splitlines()) <= 60
    (snippet,) = re.findall(
        r'```python\n(import timm.*?)```', (GUIDES / 'add_adapter.md').read_text(), re.DOTALL
    )
    exec(snippet, {})
    import lora_fa

    image = torch.randn(2, 3, 32, 32)
    plain, model = vision_transformer(), vision_transformer()
    report = inject_adapter(model, dict(type='LoRAFA', rank=2, start_block=1))
    assert len(report.layers) == 12
    layer = model.blocks[1].attn.qkv
    assert type(layer) is lora_fa.LoRAFALinear and torch.equal(model(image), plain(image))
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    layers = ('attn.qkv', 'attn.proj', 'mlp.fc1', 'mlp.fc2')
    assert trained == {f'blocks.{i}.{name}.B' for i in (1, 2, 3) for name in layers}

    start = layer.A.clone()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(image).square().sum().backward()
    optimizer.step()
    output = model(image).detach()
    assert torch.equal(layer.A, start) and not torch.allclose(output, plain(image), atol=1e-2)

    save_adapter(model, 'adapter.safetensors')
    loaded = vision_transformer()
    load_adapter(loaded, 'adapter.safetensors')
    assert torch.equal(loaded(image), output)
    assert merge_adapter(loaded) == 12
    assert not any(isinstance(module, AdapterLayer) for module in loaded.modules())
    torch.testing.assert_close(loaded(image), output, atol=1e-5, rtol=1e-4)

    average_files(['adapter.safetensors'] * 2, 'average.safetensors')
    averaged = vision_transformer()
    load_adapter(averaged, 'average.safetensors')
    torch.testing.assert_close(averaged(image), output, atol=1e-4, rtol=1e-4)

    export_peft('adapter.safetensors', 'peft', base_model='timm')
    exported = PeftModel.from_pretrained(vision_transformer(), 'peft').eval()
    torch.testing.assert_close(exported(image), output, atol=1e-5, rtol=1e-4)


def test_adapter_of_the_guide_in_a_config(example, build_runner):
    example('add_adapter.md')
    runner, scores = train_and_test(build_runner, 'lora_fa_gta.py')
    assert 'citys_mIoU' in scores
    backbone = runner.model.backbone
    trained = {name: value for name, value in backbone.named_parameters() if value.requires_grad}
    assert trained and all(name.endswith('.B') and v.any() for name, v in trained.items())
    checkpoint = Path(runner.work_dir) / 'iter_1.pth'
    card = open_checkpoint(checkpoint).card
    assert card.method == 'LoRAFA' and card.settings['rank'] == 8
    extract_adapter(checkpoint, 'adapter.safetensors')
    assert open_checkpoint('adapter.safetensors').card.method == 'LoRAFA'


SMALL = dict(embed_dim=16, depth=6, num_heads=2)
HF = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=32)


def test_any_model(tmp_path, monkeypatch):
    """Each snippet, with small networks of random weights in the place of those to download."""
    monkeypatch.chdir(tmp_path)
    create, config = timm.create_model, transformers.Dinov2Config(**HF, num_labels=5)
    registers = transformers.Dinov2WithRegistersConfig(**HF)
    head = transformers.Dinov2ForImageClassification(config).state_dict()

    def classifier(name, num_labels):
        model = transformers.Dinov2ForImageClassification(config)
        model.load_state_dict(head)
        return model.eval()

    monkeypatch.setattr(timm, 'create_model', lambda name, pretrained: create(name, **SMALL))
    for kind, make in (
        ('AutoModel', lambda name: transformers.Dinov2WithRegistersModel(registers)),
        ('AutoModelForImageClassification', classifier),
    ):
        monkeypatch.setattr(getattr(transformers, kind), 'from_pretrained', make)
    vit = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32)
    monkeypatch.setattr(torchvision.models, 'vit_b_16', lambda weights: vit)
    text = (REPOSITORY / 'docs/user_guides/any_model.md').read_text()
    snippets, names = re.findall(r'```python\n(.*?)```', text, re.DOTALL), {}
    adapted = []
    for snippet in snippets:
        exec(snippet, names)
        layers = [m for m in names['model'].modules() if isinstance(m, AdapterLayer)]
        adapted.append(len(layers))
    assert adapted == [8, 8, 8, 12, 0]  # of the last one peft's
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(names['model'](x).logits, names['again'](x).logits)


def test_peft_on_timm_as_in_the_guide(tmp_path, monkeypatch):
    """The command of docs/user_guides/checkpoints.md and the snippet below it, on a small one."""
    monkeypatch.chdir(tmp_path)
    text = (REPOSITORY / 'docs/user_guides/checkpoints.md').read_text()
    (snippet,) = re.findall(r'  ```python\n(  state = .*?)  ```', text, re.DOTALL)
    (command,) = re.findall(r'export_adapter\.py (.* --to peft .*)', text)
    assert '--base-model timm' in command and '--out soma_peft' in command
    sizes = dict(img_size=(512, 32), patch_size=(16, 8), embed_dim=(1024, 16), depth=(24, 2))
    snippet = textwrap.dedent(snippet)
    for name, (large, small) in {**sizes, 'num_heads': (16, 2)}.items():
        assert f'{name}={large},' in snippet
        snippet = snippet.replace(f'{name}={large},', f'{name}={small},')
    options = dict(img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=0)
    model = VisionTransformer(init_values=1, **options).eval()
    Path('checkpoints').mkdir()
    state = {**model.state_dict(), 'mask_token': torch.zeros(1, 16)}
    torch.save({'state_dict': state}, 'checkpoints/dinov2_converted.pth')
    inject_adapter(model, dict(type='SoMA', rank=2))
    for parameter in model.parameters():
        parameter.data += parameter.requires_grad * torch.randn_like(parameter) / 5
    save_adapter(model, 'soma.safetensors')
    arguments = dict(base='checkpoints/dinov2_converted.pth', base_model='timm')
    export_peft('soma.safetensors', 'soma_peft', **arguments)
    names = {'torch': torch, 'timm': timm, 'peft': peft}
    exec(snippet, names)
    x = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(names['model'].eval()(x), model(x), rtol=1e-4, atol=1e-5)
