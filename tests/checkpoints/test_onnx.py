"""ONNX files for images of any size: scores, operators, facts and precisions."""

import json

import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from timm_families import FAMILIES

from soma.checkpoints.export.onnx import export_onnx
from soma.checkpoints.export.traceable import resize_bicubic
from soma.io.checkpoint_files import write_checkpoint

# Of the operators that TensorRT's parser documents (its docs/operators.md, TensorRT 10).
OPERATORS = (
    'Abs Add And Cast Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Div Einsum '
    'Equal Erf Expand Flatten Floor Gather Identity InstanceNormalization LayerNormalization Less '
    'MatMul Mod Mul Neg Pow Range Reciprocal ReduceSum Relu Reshape Resize Shape Sigmoid Sin '
    'Slice Softmax Split Sqrt Squeeze Sub Transpose Unsqueeze Where'
)
CLASSES, DEPTH = 5, 6
DINOV2 = dict(
    type='DINOv2',
    arch=dict(embed_dim=16, depth=DEPTH, num_heads=2, init_values=0.5),
    img_size=(64, 48),
    patch_size=16,
)
SOMA = dict(adapter=dict(type='SoMA', rank=2))
LAST = dict(out_indices=(2,), pyramid=(1,))
FCN = dict(type='FCNHead', in_channels=16, channels=16, num_convs=0, concat_input=False)
LINEAR = dict(decode_head=FCN | dict(in_index=0, num_classes=CLASSES))
SEMFPN = dict(
    neck=dict(type='FPN', in_channels=[16] * 3, out_channels=16, num_outs=3),
    decode_head=dict(
        type='FPNHead',
        in_channels=[16] * 3,
        in_index=[0, 1, 2],
        feature_strides=[4, 8, 16],
        channels=16,
        num_classes=CLASSES,
        norm_cfg=dict(type='GN', num_groups=4),
    ),
)
EOMT = dict(
    type='EoMT',
    decode_head=dict(type='EoMTHead', num_classes=CLASSES, num_queries=7, num_blocks=2),
)


def timm(family):
    name, options = FAMILIES[family]
    options = options | dict(depth=DEPTH)
    return dict(type='TimmVisionTransformer', model_name=name, model_args=options)


CASES = {
    'linear': (DINOV2 | LAST | dict(registers=2, pos_embed_interp='dinov2'), LINEAR),
    'SemFPN': (DINOV2 | SOMA | dict(out_indices=(0, 1, 2), pyramid=(4, 2, 1)), SEMFPN),
    'EoMT': (DINOV2 | SOMA, EOMT),
    'timm, EoMT': (timm('MAE'), EOMT),
    'DINOv3, linear': (timm('DINOv3') | LAST, LINEAR),
}
FAST = ('linear', 'SemFPN', 'EoMT')


@pytest.fixture
def make(tmp_path):
    """A segmentor, no parameter of it special, its config and its file."""

    def make(backbone, head):
        init_default_scope('mmseg')
        pixels = dict(mean=[123.0, 116.0, 103.0], std=[58.0, 57.0, 56.0], size=(64, 48))
        model = dict(type='WindowEncoderDecoder', test_cfg=dict(mode='whole'), backbone=backbone)
        model |= dict(data_preprocessor=dict(type='SegDataPreProcessor', **pixels), **head)
        config = Config(dict(model=model))
        torch.manual_seed(3)
        model = MODELS.build(config.model).eval()
        model.backbone.init_weights()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
        write_checkpoint({'state_dict': model.state_dict()}, tmp_path / 'model.pth')
        return model, (config, tmp_path / 'model.pth', tmp_path / 'model.onnx')

    return make


@torch.no_grad()
def compare(model, path):
    """Scores of a file, and those of the model with its adapter, for three other sizes."""
    session = onnxruntime.InferenceSession(path)
    mean, std = (getattr(model.data_preprocessor, name) for name in ('mean', 'std'))
    for n, *size in ((1, 64, 48), (2, 80, 32), (1, 49, 70)):
        image = torch.rand(n, 3, *size) * 255
        (scores,) = session.run(['scores'], {'image': image.numpy()})
        metas = [dict(img_shape=tuple(size), ori_shape=tuple(size))] * n
        yield torch.from_numpy(scores), model.encode_decode((image - mean) / std, metas)


@pytest.mark.parametrize(
    'case', [pytest.param(c, marks=() if c in FAST else pytest.mark.slow) for c in CASES]
)
def test_any_size(make, case):
    model, files = make(*CASES[case])
    exported = export_onnx(*files, dynamic=True)
    assert exported.size is None and exported.difference < 5e-4
    for scores, expected in compare(model, files[2]):
        assert (scores - expected).abs().max() < 2e-4
        assert (scores.argmax(1) == expected.argmax(1)).double().mean() > 0.999

    file = onnx.load(files[2])
    assert [(opset.domain, opset.version) for opset in file.opset_import] == [('', 17)]
    assert {node.op_type for node in file.graph.node} <= {*OPERATORS.split()}
    for node in file.graph.node:
        if node.op_type == 'Resize':
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            assert attributes['mode'] in (b'linear', b'nearest')
            assert not attributes.get('antialias')

    facts = {entry.key: json.loads(entry.value) for entry in file.metadata_props}
    assert facts['normalisation']['inside'] and facts['normalisation']['std'] == [58.0, 57.0, 56.0]
    assert (facts['opset'], facts['precision']) == (17, 'fp32')
    if 'adapter' in CASES[case][0]:
        assert facts['card']['merged']['method'] == 'SoMA' and 'method' not in facts['card']


@pytest.mark.parametrize(('precision', 'case'), [('fp16', 'linear'), ('int8', 'EoMT')])
def test_precisions(make, precision, case):
    model, files = make(*CASES[case])
    exported = export_onnx(*files, dynamic=True, precision=precision)
    file = onnx.load(files[2])
    kinds = [tensor.data_type for tensor in file.graph.initializer]
    if precision == 'fp16':
        assert {node.op_type for node in file.graph.node} <= {*OPERATORS.split()}
        assert onnx.TensorProto.FLOAT16 in kinds
    else:  # four products a block, the class head and three of the masks
        products = [node for node in file.graph.node if node.op_type == 'MatMulInteger']
        assert len(products) == 4 * DEPTH + 4 == kinds.count(onnx.TensorProto.INT8) / 2
    for scores, expected in compare(model, files[2]):
        assert 1e-5 < (scores - expected).abs().max() < 0.05 * expected.abs().max()
    assert 1e-5 < exported.difference < 0.2


@pytest.mark.slow
def test_a_model_whose_sizes_are_fixed_is_refused(make, tmp_path):
    _, files = make(timm('EVA-02') | LAST, LINEAR)
    with pytest.raises(RuntimeError, match=r'no export for images of any size; leave --dynamic'):
        export_onnx(*files, dynamic=True)
    assert not files[2].exists()


@pytest.mark.parametrize('antialias', [False, True])
@pytest.mark.parametrize('size', [(9, 12), (5, 30), (20, 3), (1, 1)])
def test_bicubic(size, antialias):
    x = torch.randn(1, 3, 9, 12)
    expected = F.interpolate(x, size=size, mode='bicubic', antialias=antialias)
    result = resize_bicubic(x, size, antialias=antialias)
    torch.testing.assert_close(result, expected, atol=2e-5, rtol=1e-5)
