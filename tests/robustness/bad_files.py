"""Files of users with something wrong in them, for the table of bad inputs."""

import copy
import os
import shutil

import numpy as np
import torch
from mmengine.registry import RUNNERS
from PIL import Image
from safetensors.torch import save_file

from soma.checkpoints.extract import extract_adapter
from soma.checkpoints.merge import merge_files
from soma.io.checkpoint_files import read_checkpoint, write_checkpoint


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ('bomb_went_off',)


def make_checkpoints(folder, config, public_file):
    """Train two iterations; write what becomes of it, and broken copies."""
    shutil.copy(public_file, folder / 'base.pth')
    config = copy.deepcopy(config)
    config.work_dir, config.experiment_name = str(folder / 'trained'), 'bad_files'
    config.train_cfg.max_iters = 2
    config.val_cfg = config.val_dataloader = config.val_evaluator = None
    config.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=2)
    RUNNERS.build(config).train()
    trained = folder / 'iter_2.pth'
    shutil.copy(folder / 'trained/iter_2.pth', trained)
    extract_adapter(trained, folder / 'adapter.safetensors')
    merge_files(folder / 'base.pth', folder / 'adapter.safetensors', folder / 'merged.pth')

    (folder / 'empty.pth').touch()
    (folder / 'text.pth').write_text('no weights')
    content = trained.read_bytes()
    (folder / 'cut.pth').write_bytes(content[: len(content) // 2])
    torch.save({'state_dict': {}, 'bomb': Bomb()}, folder / 'bomb.pth')
    torch.save({'state_dict': {'a': 'text'}}, folder / 'no_tensors.pth')
    torch.save({'state_dict': {}}, folder / 'nothing.pth')
    (folder / 'header.safetensors').write_bytes((2**40).to_bytes(8, 'little') + b'{}')
    (folder / 'folder.pth').mkdir()

    def changed(name, source, change):
        content = read_checkpoint(folder / source)
        change(content)
        write_checkpoint(content, folder / name)

    def weights(function):
        return lambda content: function(content.get('state_dict', content))

    def nan(state):
        state['backbone.blocks.2.attn.qkv.weight'][0, 0] = float('nan')

    def nan_adapter(state):
        next(v for n, v in state.items() if 'backbone' in n and v.ndim == 2)[0, 0] = float('inf')

    changed('nan.pth', 'merged.pth', weights(nan))
    changed('nan_adapter.safetensors', 'adapter.safetensors', weights(nan_adapter))
    changed('nan_base.pth', 'base.pth', lambda s: s['blocks.0.attn.qkv.weight'].fill_(np.nan))
    changed('other_base.pth', 'base.pth', lambda s: s['blocks.2.attn.qkv.weight'].add_(1))
    changed('short.pth', 'merged.pth', weights(lambda s: s.pop('decode_head.conv_seg.bias')))
    changed(
        'wide.pth',
        'merged.pth',
        weights(lambda s: s.update({'decode_head.conv_seg.bias': torch.zeros(7)})),
    )
    changed('extra.pth', 'merged.pth', weights(lambda s: s.update(extra=torch.zeros(1))))

    def card(**values):
        return lambda content: content['meta']['soma'].update(values)

    for name, values in {
        'card_alpha_nan': dict(alpha=float('nan')),
        'card_alpha_text': dict(alpha='two'),
        'card_rank_zero': dict(rank=0),
        'card_method': dict(method='SoMAA'),
        'card_escape': dict(method='\x1b[31mred'),
        'card_targets': dict(targets=['backbone.blocks.2.attn.qkv']),
        'card_more_targets': dict(targets=['backbone.blocks.9.attn.qkv']),
        'card_classes': dict(classes=[1, 2, 3]),
    }.items():
        changed(f'{name}.safetensors', 'adapter.safetensors', card(**values))
    size = dict(img_size=[10**9, 10**9])
    changed(
        'card_size.safetensors',
        'adapter.safetensors',
        lambda content: content['meta']['soma']['base'].update(size),
    )
    save_file({'a': torch.zeros(2)}, folder / 'other.safetensors')


def make_images(folder):
    """An image as it should be, and others."""
    noise = np.random.default_rng(0).integers(0, 255, (48, 80, 3)).astype(np.uint8)
    pictures = folder / 'images'
    pictures.mkdir()
    Image.fromarray(noise).save(pictures / 'good.png')
    Image.fromarray(noise).save(folder / 'good.png')
    (folder / 'nothing').mkdir()
    (folder / 'text.png').write_text('no image')
    (folder / 'empty.png').touch()
    mixed = folder / 'mixed'
    mixed.mkdir()
    Image.fromarray(noise).save(mixed / 'good.png')
    Image.fromarray(noise).save(mixed / 'cut.jpg')
    (mixed / 'cut.jpg').write_bytes((mixed / 'cut.jpg').read_bytes()[:400])
    (mixed / 'empty.png').touch()


def make_data(folder, street_data):
    """Copies of the street data, each with one thing wrong."""

    def copy_of(name):
        root = folder / 'data' / name
        shutil.copytree(street_data, root)
        return root, root / 'labels/00001_labelTrainIds.png', root / 'images/00001.png'

    root, label, _ = copy_of('value')
    values = np.array(Image.open(label))
    values[:] = 77
    for index in range(4):  # whichever image comes first
        Image.fromarray(values).save(root / f'labels/0000{index}_labelTrainIds.png')
    root, label, _ = copy_of('cut')
    for file in (root / 'labels').iterdir():
        file.write_bytes(file.read_bytes()[:60])
    root, *_ = copy_of('size')
    for file in (root / 'labels').iterdir():
        Image.new('L', (40, 40)).save(file)
    root, *_ = copy_of('colour')
    for file in (root / 'labels').iterdir():
        Image.fromarray(np.random.default_rng(0).integers(0, 9, (48, 80, 3), np.uint8)).save(file)
    root, *_ = copy_of('empty')
    for file in (root / 'images').iterdir():
        file.write_bytes(b'')
    root, *_ = copy_of('unlabelled')
    shutil.rmtree(root / 'labels')
    root, *_ = copy_of('lists')
    (root / 'none.txt').touch()
    (root / 'outside.txt').write_text('../../value/images/00001\n')
    (root / 'missing.txt').write_text('nowhere\n')


def make_raw(folder):
    """Raw downloads with something wrong."""
    labels = folder / 'raw/gta/labels'
    labels.mkdir(parents=True)
    (folder / 'raw/gta/images').mkdir()
    for name in ('00001', '00002'):
        Image.new('L', (8, 6), 7).save(labels / f'{name}.png')
        Image.new('RGB', (8, 6)).save(folder / f'raw/gta/images/{name}.png')
    (labels / '00002.png').write_bytes((labels / '00002.png').read_bytes()[:40])
    (folder / 'raw/empty/labels').mkdir(parents=True)
    voc = folder / 'raw/weather/daytime_clear/VOC2007'
    (voc / 'ImageSets/Main').mkdir(parents=True)
    (voc / 'Annotations').mkdir()
    (voc / 'JPEGImages').mkdir()
    (voc / 'ImageSets/Main/train.txt').write_text('../../outside\n')


def make_all(folder, config, public_file, street_data):
    """Make all of them below a folder, with the config ``tiny.py`` that they go with."""
    config = copy.deepcopy(config)
    config.custom_imports = dict(imports=['soma'])
    make_checkpoints(folder, config, public_file)
    make_images(folder)
    make_data(folder, street_data)
    make_raw(folder)
    config.work_dir = None
    config.dump(folder / 'tiny.py')
    for name, text in {
        'syntax.py': 'model = dict(\n',
        'no_base.py': "_base_ = 'nowhere.py'\n",
        'division.py': 'number = 1 / 0\n',
        'config.txt': 'model\n',
        'no_model.py': 'work_dir = None\n',
        'typo.py': "_base_ = 'tiny.py'\ntrain_dataloder = dict(batch_size=3)\n",
    }.items():
        (folder / name).write_text(text)
    return folder
