"""Public weights and data by name: found, fetched if missing, checked, in configs and scripts."""

import shutil
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS
from small_detectors import RESNET, TARGETS, write_resnet

from soma.checkpoints import open_checkpoint
from soma.engine.hooks.checkpoint_card import training_card
from soma.io import public
from soma.io.checkpoint_files import read_checkpoint, read_state_dict
from soma.io.download import file_sha256
from soma.io.files import CheckpointError, InputError, check_output
from soma.io.public import DATASETS, WEIGHTS, Weights, fetch_dataset, named_weights

CLOSED = 'https://127.0.0.1:1'
FILE = 'dinov2_vittiny14_pretrain.pth'


@pytest.fixture
def tiny(public_file, tmp_path, monkeypatch):
    """Public weights called ``tiny``; none are there, and their server has none to give."""
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    weights = Weights(FILE, 1, 'free', f'{CLOSED}/{FILE}', file_sha256(public_file))
    monkeypatch.setitem(WEIGHTS, 'tiny', weights)
    (tmp_path / 'checkpoints').mkdir()
    monkeypatch.chdir(tmp_path)
    return Path('checkpoints', FILE)


@pytest.fixture
def downloads(monkeypatch, public_file):
    """Give what is asked for; returns what was asked."""
    asked = []

    def download(url, path, sha256='', schemes=('https',)):
        asked.append((url, str(path), sha256))
        path.parent.mkdir(exist_ok=True)
        shutil.copy(public_file, path)

    monkeypatch.setattr(public, 'download', download)
    return asked


def test_a_backbone_fetches_what_its_config_names(
    tiny, downloads, tiny_config, build_runner, public_file
):
    """The card, and the split beside the file, are those of the path."""
    cards = []
    for checkpoint in ('tiny', str(tiny)):
        tiny_config.model.backbone.init_cfg.checkpoint = checkpoint
        runner = build_runner(tiny_config)
        assert len(downloads) == len(cards), 'nothing is fetched before it is read'
        runner.model.init_weights()
        cards.append(training_card(runner))
    assert downloads == [(f'{CLOSED}/{FILE}', f'checkpoints/{FILE}', file_sha256(public_file))]
    assert cards[0].base == cards[1].base and cards[0].base.file == f'checkpoints/{FILE}'
    names = sorted(path.name for path in Path('checkpoints').iterdir())
    assert names == [FILE, f'{FILE}.split-r2-minor.safetensors']


def test_any_module_of_mmengine_takes_a_name(tiny, monkeypatch):
    monkeypatch.setitem(WEIGHTS, 'tiny', WEIGHTS['tiny']._replace(sha256=''))
    write_resnet(tiny)
    expected = read_state_dict(tiny)['conv1.weight']
    plain = dict(RESNET, init_cfg=dict(type='Pretrained', checkpoint='tiny'))
    adapter = dict(type='SoMA', rank=2, targets=TARGETS)
    for config in (plain, dict(type='AdaptedBackbone', backbone=plain, adapter=adapter)):
        model = MODELS.build(config)
        model.init_weights()
        assert torch.equal(model.conv1.weight, expected)
    assert len(list(tiny.parent.glob(f'{FILE}.split-r2-minor.safetensors'))) == 1


def test_base_by_name(tiny, public_file):
    """As ``--base`` of the scripts."""
    shutil.copy(public_file, tiny)
    assert open_checkpoint('tiny').tensors.keys() == open_checkpoint(public_file).tensors.keys()
    with pytest.raises(CheckpointError, match=f'{FILE} is read too'):
        check_output(tiny, ['tiny'])


def test_a_path_is_no_name(tiny, public_file, downloads):
    shutil.copy(public_file, 'tiny')  # a file of this name comes first
    assert 'cls_token' in read_state_dict('tiny')
    with pytest.raises(FileNotFoundError, match=f'no checkpoint at {tiny}'):
        read_checkpoint(tiny)
    assert downloads == []


def test_without_a_network(tiny):
    with pytest.raises(InputError) as caught:
        read_checkpoint('tiny')
    assert str(caught.value) == (
        f'{CLOSED}/{FILE} cannot be reached ([Errno 111] Connection refused): get it elsewhere and '
        f'put it into checkpoints as {FILE}; '
        'or name your file by its path, as base (--base) or as checkpoint of init_cfg'
    )
    assert list(tiny.parent.iterdir()) == []


def test_another_file_of_the_name_is_refused(tiny, public_file):
    torch.save({'a': torch.ones(1)}, tiny)
    digest = file_sha256(tiny)
    message = f'{tiny} is not tiny: its sha256 is {digest}, not .*: remove it; or name your file by'
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint('tiny')
    shutil.copy(public_file, tiny)
    read_checkpoint('tiny')


@pytest.mark.parametrize('name', ['tiny', f'checkpoints/{FILE}'])
def test_a_file_that_has_changed_since_is_refused(tiny, public_file, name):
    shutil.copy(public_file, tiny)
    note = tiny.with_name(f'{FILE}.sha256')
    note.write_text(f'{file_sha256(tiny)}  {FILE}\n')
    read_checkpoint(name)
    torch.save({'a': torch.ones(1)}, tiny)
    with pytest.raises(CheckpointError, match=f'{tiny} is not the file that was downloaded') as e:
        read_checkpoint(name)
    assert '\n' not in str(e.value)
    with pytest.raises(CheckpointError, match='not the file that was downloaded'):
        public.fetch_weights('tiny', 'checkpoints')
    note.write_text('nothing')
    with pytest.raises(CheckpointError, match=r'\.sha256 does not start with a sha256: remove it'):
        read_checkpoint(name)


def test_weights_with_a_licence_to_accept(tmp_path, downloads, monkeypatch, public_file):
    with pytest.raises(InputError, match=r'licence at https://ai\.meta\.com/.*--url LINK, or put '):
        public.fetch_weights('dinov3_vits16', tmp_path)
    path = public.fetch_weights('dinov3_vits16', tmp_path, 'https://mine/x.pth?Signature=1')
    assert path == tmp_path / 'dinov3_vits16_pretrain_lvd1689m-08c60483.pth'
    assert downloads == [('https://mine/x.pth?Signature=1', str(path), '08c60483')]


def test_names():
    assert WEIGHTS['dinov2_vitg14_reg'].url == (
        'https://dl.fbaipublicfiles.com/dinov2/dinov2_vitg14/dinov2_vitg14_reg4_pretrain.pth'
    )
    assert WEIGHTS['sam_vit_b'].url.endswith('/segment_anything/sam_vit_b_01ec64.pth')
    for name, weights in WEIGHTS.items():
        assert weights.url.endswith(f'/{weights.file}') or weights.page, name
        assert weights.sha256 and len(weights.sha256) in (8, 64), name
    assert len({weights.sha256 for weights in WEIGHTS.values()}) == len(WEIGHTS) == 17
    with pytest.raises(InputError, match=r"'dinov2_vitl_14': is it dinov2_vitl14\?"):
        named_weights('dinov2_vitl_14')
    with pytest.raises(FileNotFoundError, match=r'dinov2_vitl_14 \(is it dinov2_vitl14\?\)'):
        read_checkpoint('dinov2_vitl_14')


def test_names_of_timm():
    weights = named_weights('timm/vit_base_patch16_clip_224.openai')
    assert weights.file == 'vit_base_patch16_clip_224.openai.safetensors'
    assert weights.url == (
        'https://huggingface.co/timm/vit_base_patch16_clip_224.openai/resolve/main/'
        'model.safetensors'
    )
    model, tag, suffix = named_weights('timm/eva02_large_patch14_448').file.split('.')
    assert (model, suffix) == ('eva02_large_patch14_448', 'safetensors') and 'mim' in tag
    for name, message in (('vit_base_patch16_clip_224.no', 'Invalid'), ('no', "a model 'no'")):
        with pytest.raises(InputError, match=message):
            named_weights(f'timm/{name}')


def test_data(tmp_path, monkeypatch, downloads, public_file):
    """An archive that is not what it should be does not stay."""
    with pytest.raises(InputError, match=r'camvid\.tar\.gz is damaged'):
        fetch_dataset('camvid', tmp_path)
    assert list(tmp_path.iterdir()) == [] and len(downloads) == 1
    (tmp_path / 'camvid').mkdir()  # holds nothing
    extracted = []

    def extract(archive, folder, target, tree):
        extracted.append((folder, tree))
        (target / 'train').mkdir()

    monkeypatch.setattr(public, 'extract_tree', extract)
    for _ in range(2):  # the second time it is there
        assert fetch_dataset('camvid', tmp_path) == tmp_path / 'camvid'
    assert extracted == [('CamVid', '58c604d6ff4ae2239e7d39f2da2bb3ec1a83fa87')]
    assert [path.name for path in tmp_path.iterdir()] == ['camvid'] and len(downloads) == 2


def test_the_script(tiny, run_here, capsys, downloads, public_file):
    with pytest.raises(SystemExit, match=r"^error: nothing public is called 'tinny': is it tiny\?"):
        run_here('download.py', 'tiny', 'tinny', '--out', 'here')
    assert downloads == [], 'all names are looked up first'
    run_here('download.py', 'tiny', '--out', 'here', '--url', 'https://mirror/x')
    assert capsys.readouterr().out == f'here/{FILE} (licence: free)\n'
    assert downloads == [('https://mirror/x', f'here/{FILE}', file_sha256(public_file))]
    run_here('download.py', '--list')
    table = capsys.readouterr().out
    assert all(name in table for name in (*WEIGHTS, *DATASETS))
    for wrong in ([], ['tiny', '--list'], ['tiny', 'sam_vit_b', '--url', 'https://x']):
        with pytest.raises(SystemExit, match='2'):
            run_here('download.py', *wrong)
