"""EoMT against its formulas, with and without masks, adapters, rotary positions and windows."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS, init_default_scope
from small_configs import SMALL
from test_heads import labels_of, samples
from timm_families import FAMILIES

from soma.adapters import ADAPTERS, merge_adapter
from soma.models.probabilities import class_probabilities
from soma.utils.config import load_config

QUERIES, BLOCKS, CLASSES, DEPTH = 7, 2, 5, 6
ARCH = dict(embed_dim=16, depth=DEPTH, num_heads=2, init_values=0.5)
DINOV2 = dict(type='DINOv2', arch=ARCH, img_size=64, patch_size=16)


def config(backbone=DINOV2, head=None, **options):
    head = dict(type='EoMTHead', num_classes=CLASSES, num_queries=QUERIES, num_blocks=BLOCKS) | (
        head or {'num_points': 200}
    )
    model = dict(type='EoMT', data_preprocessor=dict(type='SegDataPreProcessor'))
    model |= dict(backbone=backbone, decode_head=head, test_cfg=dict(mode='whole')) | options
    return copy.deepcopy(model)


def build(*args, **options):
    """The model in float64, no parameter of it special."""
    init_default_scope('mmseg')
    torch.manual_seed(2)
    model = MODELS.build(config(*args, **options)).double()
    model.backbone.init_weights()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def timm(family):
    name, args = FAMILIES[family]
    return dict(type='TimmVisionTransformer', model_name=name, model_args=args | {'depth': DEPTH})


def image(*size, count=2):
    return torch.randn(count, 3, *size, dtype=torch.float64)


def norm(x, layer):
    return F.layer_norm(x, x.shape[-1:], layer.weight, layer.bias, layer.eps)


def direct(model, x, probabilities=None):
    """Class scores and masks of all layers, as the paper writes them; without masks if None."""
    backbone, head = model.backbone, model.decode_head
    patch, grid = backbone.stride, [side // backbone.stride for side in x.shape[2:]]
    x = F.conv2d(x, backbone.patch_embed.proj.weight, backbone.patch_embed.proj.bias, patch)
    x = torch.cat([backbone.cls_token.expand(len(x), -1, -1), x.flatten(2).mT], 1)
    x, layers = x + backbone.pos_embed, []

    def predict(x):
        x = norm(x, backbone.norm)
        query, maps = x[:, :QUERIES], x[:, QUERIES + 1 :].mT.unflatten(2, grid)
        for up in head.upscale:
            maps = F.gelu(F.conv_transpose2d(maps, up.conv1.weight, up.conv1.bias, 2))
            maps = F.conv2d(maps, up.conv2.weight, padding=1, groups=16).permute(0, 2, 3, 1)
            maps = norm(maps, up.norm).permute(0, 3, 1, 2)
        embedding = query
        for index in (0, 2, 4):
            embedding = F.gelu(embedding) if index else embedding
            linear = head.mask_head[index]
            embedding = embedding @ linear.weight.T + linear.bias
        masks = torch.einsum('nqc,nchw->nqhw', embedding, maps)
        layers.append((query @ head.class_head.weight.T + head.class_head.bias, masks))

    for index, block in enumerate(backbone.blocks):
        first = index - (DEPTH - BLOCKS)
        if first == 0:
            x = torch.cat([head.q.weight.expand(len(x), -1, -1), x], 1)
        hidden = torch.zeros(len(x), 1, x.shape[1], x.shape[1], dtype=torch.bool)
        if first >= 0:
            predict(x)
            if probabilities and probabilities[first]:
                masks = F.interpolate(layers[-1][1], grid, mode='bilinear')
                masked = torch.ones(len(x), QUERIES, dtype=torch.bool)
                if probabilities[first] < 1:
                    masked = torch.rand(len(x), QUERIES) < probabilities[first]
                outside = (masks <= 0).flatten(2) & masked[..., None]
                hidden[:, 0, :QUERIES, QUERIES + 1 :] = outside
                assert 0 < outside.double().mean() < 1
        y = norm(x, block.norm1) @ block.attn.qkv.weight.T + block.attn.qkv.bias
        q, k, v = y.view(len(x), -1, 3, 2, 8).permute(2, 0, 3, 1, 4)
        attention = (q @ k.mT / 8**0.5).masked_fill(hidden, -torch.inf).softmax(-1)
        y = (attention @ v).transpose(1, 2).flatten(2)
        x = x + block.ls1.gamma * (y @ block.attn.proj.weight.T + block.attn.proj.bias)
        y = norm(x, block.norm2) @ block.mlp.fc1.weight.T + block.mlp.fc1.bias
        y = F.gelu(y) @ block.mlp.fc2.weight.T + block.mlp.fc2.bias
        x = x + block.ls2.gamma * y
    predict(x)
    return layers


@pytest.fixture(scope='module')
def model():
    return build()


@pytest.mark.parametrize('probabilities', [[1.0, 1.0], [1.0, 0.4], [0.0, 0.0]])
@torch.no_grad()
def test_training_computes_the_formulas(model, probabilities):
    x = image(64, 64)
    model.train().decode_head.mask_probabilities = probabilities
    torch.manual_seed(5)
    expected = direct(model, x, probabilities)
    torch.manual_seed(5)
    features = model.extract_feat(x)
    result = [*zip(*model.decode_head(features), strict=True)]
    assert len(result) == len(expected) == BLOCKS + 1
    for layer, other in zip(result, expected, strict=True):
        assert layer[1].shape == (2, QUERIES, 16, 16)
        torch.testing.assert_close(layer, other)
    # Masks change what comes after; without them, the last layer is what testing computes.
    last = model.eval().decode_head(model.extract_feat(x))
    assert [len(part) for part in last] == [1, 1]
    same = torch.equal(last[1][0], result[-1][1])
    assert same == (probabilities == [0.0, 0.0])


@torch.no_grad()
def test_testing_never_masks(model):
    x = image(64, 64)
    model.eval().decode_head.mask_probabilities = [1.0, 1.0]
    scores, masks = direct(model, x)[-1]
    masks = F.interpolate(masks, (64, 64), mode='bilinear').sigmoid()
    expected = torch.einsum('nqk,nqhw->nkhw', scores.softmax(-1)[..., :-1], masks)
    metas = [dict(img_shape=(64, 64), ori_shape=(64, 64))] * 2
    result = model.encode_decode(x, metas)
    torch.testing.assert_close(result, expected)
    shares = class_probabilities(model, result)
    torch.testing.assert_close(shares, expected / expected.sum(1, keepdim=True))
    # A window that is the image, and windows in which others are seen.
    model.test_cfg = dict(mode='slide', crop_size=(64, 64), stride=(40, 40))
    torch.testing.assert_close(model.slide_inference(x, metas), expected)
    wide = image(64, 104)
    result = model.slide_inference(wide, metas)
    windows = [model.encode_decode(wide[..., i : i + 64], metas) for i in (0, 40)]
    model.test_cfg = dict(mode='whole')
    torch.testing.assert_close(result[..., :40], windows[0][..., :40])
    torch.testing.assert_close(result[..., 64:], windows[1][..., 24:])


@pytest.mark.parametrize(('patch', 'scale'), [(8, 2), (14, 4), (16, 4), (32, 8)])
def test_maps_have_a_stride_of_about_four(patch, scale):
    backbone = DINOV2 | dict(img_size=3 * patch, patch_size=patch)
    model = build(backbone).eval()
    (features,) = model.extract_feat(image(3 * patch, 3 * patch - 1))[2]  # enlarged
    assert features.shape == (2, 16, 3 * scale, 3 * scale)


def test_losses_are_mask2formers_of_each_layer(model, same_points):
    """Which has one map for all layers: here it gets one layer after the other."""
    usual = load_config(SMALL / 'small_mask2former.py').model.decode_head
    usual.num_classes, usual.loss_cls.class_weight = CLASSES, [1.0] * CLASSES + [0.1]
    usual = MODELS.build(usual)
    usual.num_points, head = 200, model.decode_head
    for name in ('loss_weights', 'cost_weights', 'dice_eps', 'cost_eps', 'oversample_ratio'):
        assert getattr(head, name) == getattr(usual, name)
    assert head.importance_sample_ratio == usual.importance_sample_ratio
    assert torch.equal(head.class_weights, usual.class_weights.double())
    few = labels_of(0, 1, 255)[:64, :64], labels_of(3, 255)[:64, :64]
    model.train().decode_head.mask_probabilities = [0.0] * BLOCKS
    layers = model.extract_feat(image(64, 64))
    losses = head.loss(layers, samples(*few), {})
    assert len(losses) == 3 * (BLOCKS + 1)
    for index, layer in enumerate(zip(*layers, strict=True)):
        usual.decode = lambda x: [[part] for part in x]
        prefix = '' if index == BLOCKS else f'd{index}.'
        for name, value in usual.loss(layer, samples(*few), {}).items():
            torch.testing.assert_close(losses[prefix + name], value)
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    model.zero_grad()


def adapted(method, **options):
    options = dict(rank=2) | options if hasattr(ADAPTERS[method], 'rank') else options
    return DINOV2 | dict(adapter=dict(type=method, start_block=1, **options))


@pytest.mark.parametrize('method', ['SoMA', 'RecycleLoRA', 'BitFit', 'Rein'])
@torch.no_grad()
def test_adapters_start_as_the_plain_network_and_merge_into_it(method, model):
    x = image(64, 64)
    options = dict(zero_init=True, num_tokens=3) if method == 'Rein' else {}
    tuned = MODELS.build(config(adapted(method, **options))).double().train()
    plain = model.state_dict()
    tuned.load_state_dict(plain, strict=False)
    model.train()
    for each in (model, tuned):
        each.decode_head.mask_probabilities = [1.0, 1.0]
    expected = model.decode_head(model.extract_feat(x))
    for ours, theirs in zip(tuned.decode_head(tuned.extract_feat(x)), expected, strict=True):
        assert all(map(torch.equal, ours, theirs))
    trained = {n for n, p in tuned.named_parameters() if p.requires_grad}
    heads = {n for n in plain if n.startswith('decode_head.')}
    assert heads < trained and not any(p.requires_grad for p in [tuned.backbone.cls_token])
    for name in trained:
        tuned.get_parameter(name).add_(0.1 * torch.randn_like(tuned.get_parameter(name)))
    changed = tuned.eval().extract_feat(x)
    if method == 'Rein':  # it refines patches, and neither class token nor queries
        block = tuned.backbone.blocks[-1]
        tokens = torch.randn(1, QUERIES + 17, 16, dtype=torch.float64)
        with_rein = block(tokens)
        block._forward_hooks.clear()
        same = (with_rein == block(tokens)).all(-1)[0]
        assert same[: QUERIES + 1].all() and not same[QUERIES + 1 :].any()
        return
    assert not torch.allclose(changed[0][0], model.eval().extract_feat(x)[0][0])
    merge_adapter(tuned)
    for ours, theirs in zip(tuned.extract_feat(x), changed, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert tuned.state_dict().keys() == plain.keys()


@pytest.mark.parametrize('family', ['DINOv3', 'EVA-02', 'CLIP', 'DINOv2 registers'])
@torch.no_grad()
def test_queries_leave_the_positions_of_patches_alone(family):
    """Where nothing sees the queries the network is timm's; their order does not matter."""
    backbone = timm(family)
    model = build(backbone).eval()
    network, x = model.backbone, image(32, 40)
    tokens, rope = network.embed(x)
    assert (rope is None) == (family in ('CLIP', 'DINOv2 registers'))
    plain = MODELS.build(backbone | dict(out_indices=[5], pyramid=[1])).double().eval()
    plain.load_state_dict(network.state_dict())
    for index in range(DEPTH):
        mask = None
        if index == DEPTH - BLOCKS:
            tokens = model.decode_head.add_queries(tokens)
        if index >= DEPTH - BLOCKS:
            mask = torch.ones(2, 1, tokens.shape[1], tokens.shape[1], dtype=torch.bool)
            mask[..., QUERIES:, :QUERIES] = False
        tokens = network.run_block(index, tokens, rope, mask)
    patches = tokens[:, -20:].mT.unflatten(2, (4, 5))
    torch.testing.assert_close(patches, plain(x)[0])
    (scores,), _, _ = model.extract_feat(x)
    order = torch.randperm(QUERIES)
    model.decode_head.q.weight.copy_(model.decode_head.q.weight[order])
    (other,), _, _ = model.extract_feat(x)
    torch.testing.assert_close(other, scores[:, order])


def test_recomputed_blocks_have_the_same_gradients_and_masks():
    gradients = []
    for with_cp in (False, True):
        model = build(DINOV2 | dict(with_cp=with_cp)).train()
        model.decode_head.mask_probabilities = [1.0, 0.5]
        torch.manual_seed(1)
        x = image(64, 64)
        sum(part[-1].sum() for part in model.extract_feat(x)).backward()
        gradients.append([p.grad for p in model.backbone.parameters()])
    assert all(map(torch.equal, *gradients))


@pytest.mark.parametrize('base_dtype', ['float32', 'bfloat16'])
def test_bfloat16(base_dtype):
    model = build(adapted('SoMA')).float()
    other = MODELS.build(config(adapted('SoMA') | dict(base_dtype=base_dtype))).train()
    other.load_state_dict(model.state_dict())
    other.decode_head.mask_probabilities = [1.0, 0.5]
    with torch.autocast('cpu', torch.bfloat16, enabled=base_dtype == 'float32'):
        losses = other.loss(image(64, 64).float(), samples(*[labels_of(0, 1)[:64, :64]] * 2))
    assert {value.dtype for value in losses.values()} == {torch.float32}
    sum(losses[name] for name in losses if 'loss' in name).backward()
    trained = [p for p in other.parameters() if p.requires_grad]
    assert all(p.grad.isfinite().all() for p in trained)
    x = image(64, 64).float()
    expected, result = (m.eval().extract_feat(x)[0][0].detach() for m in (model, other))
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, expected, atol=0.15, rtol=0.1)


def test_what_trains():
    names = {n for n, p in build().named_parameters() if not p.requires_grad}
    assert not names  # the norm, too
    frozen = build(DINOV2 | dict(frozen_blocks=DEPTH))
    assert {n.split('.')[0] for n, p in frozen.named_parameters() if p.requires_grad} == {
        'decode_head'
    }
    last = build(DINOV2 | dict(frozen_blocks=4)).backbone
    parts = {n.split('.')[0] for n, p in last.named_parameters() if p.requires_grad}
    assert parts == {'blocks', 'norm'}


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(backbone=DINOV2 | dict(out_indices=[5])), 'no use for out_indices of backbone'),
        (dict(backbone=DINOV2 | dict(pyramid=[1])), 'no use for pyramid of backbone'),
        (dict(backbone=dict(type='ResNet', depth=18)), 'plain vision transformer.*got ResNet'),
        (dict(backbone=timm('SAM')), 'samvit_large_patch16 cannot have queries'),
        (dict(backbone=adapted('Rein', link=True)), 'link=True of its adapter'),
        (dict(head=dict(in_channels=16)), 'no use for in_channels of decode_head'),
        (dict(head=dict(num_blocks=6)), r'num_blocks must be 1 to 5, fewer than .*, got 6'),
        (dict(head=dict(num_queries=0)), 'at least 1, and whole, got 0'),
        (dict(decode_head=dict(type='FCNHead')), 'needs an EoMTHead, got FCNHead'),
        (dict(neck=dict(type='FPN')), 'no use for neck of model'),
    ],
)
def test_what_is_of_no_use_is_refused(options, message):
    init_default_scope('mmseg')
    with pytest.raises(ValueError, match=message):
        MODELS.build(config(**options))
