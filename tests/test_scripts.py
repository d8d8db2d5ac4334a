import json
from itertools import chain

import matplotlib.pyplot as plt
import mmengine
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.visualization import Visualizer
from PIL import Image

from soma.datasets import DomainVOCDataset
from soma.datasets.labels import TRAIN_TO_CITYSCAPES
from soma.utils.cli import command


def as_paths(root, files):
    return sorted(str(file.relative_to(root)) for file in files)


def logged(folder):
    """What each run has logged to a work dir, line by line."""
    files = sorted(folder.glob('*/*.json')) + sorted(folder.glob('*/vis_data/2*.json'))
    return [[json.loads(line) for line in file.read_text().splitlines()] for file in files]


def metrics_of(folder):
    (lines,) = logged(folder)
    return lines[-1]


def test_train_test_and_visualize_from_another_folder(
    config_file, run_tools, street_data, tmp_path
):
    here, work = tmp_path / 'elsewhere', 'work_dirs/tiny'
    options = ['train_cfg.max_iters=2', 'train_cfg.val_interval=2']
    options.append('default_hooks.checkpoint.interval=2')
    model, named = [config_file, f'{work}/iter_2.pth'], ['--cfg-options', 'experiment_name=test']
    images = [street_data / 'images', '--save-dir', 'seen', '--device', 'cpu']
    done = run_tools(
        ['train.py', config_file, '--cfg-options', *options],
        ['test.py', *model, '--work-dir', 'tested', '--show-dir', 'shown', *named],
        ['visualize.py', *model, *images],
    )
    work = here / work
    assert as_paths(work, work.glob('*.*')) == ['iter_2.pth', 'tiny.py']
    assert (work / 'last_checkpoint').read_text().endswith('iter_2.pth')
    trained = metrics_of(work)
    assert trained['step'] == 2 and 'citys_mIoU' in trained

    tested = metrics_of(here / 'tested')
    names = [f'{d}_{m}' for d in ('citys', 'fog') for m in ('mIoU', 'aAcc', 'mAcc')] + ['mean_mIoU']
    assert {n: tested[n] for n in names} == {n: trained[n] for n in names}
    images = [f'{domain}/0000{i}.png' for domain in ('citys', 'fog') for i in range(4)]
    assert as_paths(here / 'shown', (here / 'shown').rglob('*.*')) == images
    sheet = Image.open(here / 'shown' / 'citys' / '00000.png')
    assert sheet.width >= 3 * 80 and sheet.height > 48

    images = [f'seen/0000{i}.png' for i in range(4)]
    assert as_paths(here, (here / 'seen').rglob('*.*')) == images
    # At log_level WARNING train and test say nothing, and other packages neither.
    assert done.stdout.split()[-4:] == images and done.stdout.count('\n') <= 5
    assert done.stderr == ''
    assert sorted(p.name for p in here.iterdir()) == ['seen', 'shown', 'tested', 'work_dirs']


def test_resume_and_time_augmentation(config_file, run_here, tiny_config, tta, tmp_path):
    here = tmp_path / 'elsewhere'
    options = ['--work-dir', 'work', '--cfg-options', 'default_hooks.checkpoint.interval=2']
    run_here('train.py', config_file, *options, 'train_cfg.max_iters=2', 'experiment_name=first')
    run_here('train.py', config_file, '--resume', *options, 'experiment_name=second')
    assert (here / 'work' / 'last_checkpoint').read_text().endswith('iter_4.pth')
    lines = [*chain(*logged(here / 'work'))]  # in one file or two, depending on the clock
    assert [line['step'] for line in lines if 'loss' in line] == [1, 2, 3, 4]
    options = ['--work-dir', 'again', '--cfg-options', 'experiment_name=third']
    run_here('train.py', config_file, '--resume', 'work/iter_2.pth', *options)
    lines = [*chain(*logged(here / 'again'))]
    assert [line['step'] for line in lines if 'loss' in line] == [3, 4]

    tiny_config.merge_from_dict(tta)
    tiny_config.dump(config_file)
    for options in (['plain'], ['tta', '--tta']):
        name = ['--cfg-options', f'experiment_name={options[0]}']
        run_here('test.py', config_file, 'work/iter_4.pth', '--work-dir', *options, *name)
    plain, augmented = metrics_of(here / 'plain'), metrics_of(here / 'tta')
    assert 0 < plain['mean_mIoU'] != augmented['mean_mIoU'] > 0


def test_predictions_are_written_as_cityscapes_ids(config_file, run_here, tiny_config, tmp_path):
    here = tmp_path / 'elsewhere'
    run_here('train.py', config_file, '--work-dir', 'work', '--cfg-options', 'experiment_name=a')
    run_here(
        'test.py',
        config_file,
        'work/iter_4.pth',
        '--out',
        'out',
        '--cfg-options',
        'experiment_name=b',
    )
    names = [f'{domain}/0000{i}.png' for domain in ('citys', 'fog') for i in range(4)]
    assert as_paths(here / 'out', (here / 'out').rglob('*.*')) == names
    for name in names:
        labels = np.asarray(Image.open(here / 'out' / name))
        assert labels.shape == (48, 80) and labels.dtype == np.uint8
        assert np.isin(labels, TRAIN_TO_CITYSCAPES[:19]).all()


def test_other_test_data_with_options_for_the_model(config_file, run_here, tmp_path):
    """An adapter's option does not bring it back, a place in the other's list is found there."""
    run_here('train.py', config_file, '--work-dir', 'work', '--cfg-options', 'experiment_name=a')
    config = Config.fromfile(config_file)
    datasets = config.test_dataloader.dataset.datasets
    datasets.append(dict(datasets[0], domain='snow'))
    config.dump(tmp_path / 'other.py')
    options = ['model.backbone.adapter.rank=2', 'experiment_name=b', 'load_from=nowhere.pth']
    options.append('test_dataloader.dataset.datasets.2.domain=rain')
    data = ['--test-data', tmp_path / 'other.py', '--work-dir', 'tested']
    run_here('test.py', config_file, 'work/iter_4.pth', *data, '--cfg-options', *options)
    tested = metrics_of(tmp_path / 'elsewhere/tested')
    result = {name for name in tested if name.endswith('mIoU')}
    assert result == {f'{domain}_mIoU' for domain in ('citys', 'fog', 'rain', 'mean')}
    assert tested['citys_mIoU'] > 0


def test_a_config_is_printed_whole(config_file, run_here, public_file, tmp_path, capsys):
    child = tmp_path / 'child.py'
    child.write_text("_base_ = 'tiny.py'\ntrain_cfg = dict(max_iters=7)\n")
    options = ['--cfg-options', 'model.backbone.adapter.rank=3']
    run_here('misc/print_config.py', child, '--out', 'whole.py', *options)
    printed = capsys.readouterr().out
    for text in (printed, (tmp_path / 'elsewhere/whole.py').read_text()):
        config = Config.fromstring(text, '.py')
        expected = Config.fromfile(config_file)
        expected.merge_from_dict(
            {'train_cfg.max_iters': 7, 'model.backbone.adapter.rank': 3, 'work_dir': None}
        )
        expected.work_dir = 'work_dirs/child'
        assert config.to_dict() == expected.to_dict()
    run_here('misc/print_config.py', child, '--out', 'whole.json')
    assert (
        json.loads((tmp_path / 'elsewhere/whole.json').read_text())['train_cfg']['max_iters'] == 7
    )
    for out, message in ((child, r'child\.py is read too'), ('x.txt', r'x\.txt must end in \.py')):
        with pytest.raises(SystemExit, match=f'^error: .*{message}'):
            run_here('misc/print_config.py', child, '--out', out)
    assert child.read_text().startswith('_base_')


def test_an_interrupt_is_no_traceback(capsys):
    with pytest.raises(SystemExit, match='130'), command():
        raise KeyboardInterrupt
    assert capsys.readouterr().err == 'interrupted\n'
    with pytest.raises(SystemExit, match='130'), command():
        raise KeyboardInterrupt('go on')
    assert capsys.readouterr().err == 'interrupted; go on\n'
    full = torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has')
    message = r'^error: the GPU.s memory is full \(CUDA out of memory. Tried to allocate 2.00 GiB\)'
    with pytest.raises(SystemExit, match=rf'{message}: take fewer .*--batch 1.*--amp'), command():
        raise full


@pytest.mark.parametrize('script', ['train.py', 'test.py', 'visualize.py'])
def test_a_missing_config_is_named(run_here, script):
    arguments = {'train.py': [], 'test.py': ['x.pth'], 'visualize.py': ['x.pth', 'x.png']}[script]
    with pytest.raises(SystemExit, match=r'error: no config file nowhere\.py'):
        run_here(script, 'nowhere.py', *arguments)


def test_a_shared_adapter_gives_the_same_results(
    config_file, run_here, public_file, street_data, tmp_path, capsys
):
    here = tmp_path / 'elsewhere'
    sizes = ['--height', '32', '--width', '32', '--patch-size', '8']
    run_here('convert_models/convert_dinov2.py', public_file, 'base.pth', *sizes)
    named = ['--cfg-options', f'model.backbone.init_cfg.checkpoint={here}/base.pth']
    run_here('train.py', config_file, '--work-dir', 'work', *named, 'experiment_name=train')
    run_here(
        'extract_soma_weights.py', '--final_ckpt', 'work/iter_4.pth', '--soma_ckpt', 'a.safetensors'
    )
    for merged in ('merged.pth', 'kept.safetensors'):
        keep = ['--keep-adapter'] if merged.startswith('kept') else []
        arguments = ['--backbone_ckpt', 'base.pth', '--soma_ckpt', 'a.safetensors', *keep]
        run_here('merge_soma_weights.py', *arguments, '--merged_ckpt', merged)
    run_here(
        'model_reparameterization.py',
        'average.pth',
        '--checkpoints',
        'a.safetensors',
        'a.safetensors',
    )
    assert '8, rank 4' in capsys.readouterr().out
    tests = {
        'final': ['work'],  # its last checkpoint
        'average': ['average.pth', '--backbone', 'base.pth'],  # of twice the same
        'adapter': ['a.safetensors', '--backbone', 'base.pth'],
        'published': ['a.safetensors'],  # the base is the one of the config, converted on the fly
        'merged': ['merged.pth'],
        'kept': ['kept.safetensors'],
    }
    result = {}
    for name, arguments in tests.items():
        options = ['--work-dir', name, '--cfg-options', f'experiment_name={name}']
        run_here('test.py', config_file, *arguments, *options)
        result[name] = metrics_of(here / name)['mean_mIoU']
    run_here('test.py', config_file, 'work', '--cfg-options', 'experiment_name=beside')
    assert not (here / 'work_dirs').exists()  # a test of a work dir writes there
    assert result['final'] > 0
    assert result == pytest.approx({name: result['final'] for name in tests}, abs=0.05)
    image = street_data / 'images' / '00000.png'
    arguments = ['a.safetensors', image, '--backbone', 'base.pth', '--device', 'cpu']
    run_here('visualize.py', config_file, *arguments, '--save-dir', 'seen')
    assert (here / 'seen' / '00000.png').exists()
    for to in ('peft', 'timm', 'dinov2'):
        arguments = ['--to', to, '--backbone_ckpt', 'base.pth']
        run_here('export_adapter.py', 'a.safetensors', f'{to}.pth', *arguments)
        assert (here / f'{to}.pth').exists()
    assert '12 layers of rank 4: peft.pth' in capsys.readouterr().out


@pytest.mark.slow
def test_the_same_scripts_for_detectors(tiny_detector, run_here, box_data, tmp_path, monkeypatch):
    here, config_file = tmp_path / 'elsewhere', tmp_path / 'det.py'
    load, resize, pad, annotations, pack = tiny_detector.test_pipeline
    flips = [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0.0, 1.0)]
    views = [[resize], flips, [pad], [annotations], [pack]]
    tiny_detector.tta_pipeline = [load, dict(type='TestTimeAug', transforms=views)]
    nms = dict(type='nms', iou_threshold=0.5)
    tiny_detector.tta_model = dict(type='DetTTAModel', tta_cfg=dict(nms=nms, max_per_img=10))
    tiny_detector.custom_imports = dict(imports=['soma'])
    tiny_detector.dump(config_file)
    options = ['default_hooks.checkpoint.interval=2', 'experiment_name=det']
    run_here('train.py', config_file, '--work-dir', 'work', '--cfg-options', *options)
    assert 'mean_mAP' in metrics_of(here / 'work')
    file = 'work/iter_2.pth'
    run_here('extract_soma_weights.py', '--final_ckpt', file, '--soma_ckpt', 'a.safetensors')
    result = {}
    for name, arguments in {
        'plain': [file, '--show-dir', 'plain'],
        'adapter': ['a.safetensors'],
        'tta': [file, '--tta', '--show-dir', 'tta'],
    }.items():
        arguments += ['--work-dir', f'{name}_work', '--cfg-options', f'experiment_name=det_{name}']
        run_here('test.py', config_file, '--out', name, *arguments)
        assert 'mean_mAP' in metrics_of(here / f'{name}_work')
        result[name] = json.loads((here / name / 'NC.json').read_text())
    scores = {name: sorted(box['score'] for box in boxes) for name, boxes in result.items()}
    assert scores['adapter'] == pytest.approx(scores['plain'], abs=1e-4)
    assert scores['tta'] != pytest.approx(scores['plain'], abs=1e-4)
    images = [f'{domain}/{i}.png' for domain in ('DC', 'NC') for i in range(3)]
    red, green, blue = DomainVOCDataset.METAINFO['palette'][0]
    for name in ('plain', 'tta'):
        assert as_paths(here / name, (here / name).rglob('*.png')) == images
        ground_truth = np.asarray(Image.open(here / name / images[0]))[:, 86:166]
        bus = (ground_truth == (red, green, blue)).all(-1).sum(0)
        assert bus[6] >= 20 and bus[36] >= 20 and bus[37:].max() == 0 == bus[:6].max()
    windows = []  # of the command line of SoMA's release
    monkeypatch.setattr(plt, 'get_backend', lambda: 'TkAgg')
    monkeypatch.setattr(Visualizer, 'show', lambda _, *arguments: windows.append(arguments))
    options = ['--work-dir', 'pickled', '--cfg-options', 'experiment_name=det_pickled']
    run_here('test.py', config_file, file, '--show', '--out', 'x.pkl', *options)
    assert [window[1:] for window in windows] == [(i.replace('/', ' '), 2) for i in images]
    assert np.array_equal(windows[0][0], np.asarray(Image.open(here / 'plain' / images[0])))
    samples = mmengine.load(here / 'x.pkl')
    assert [sample['domain'] for sample in samples] == ['DC'] * 3 + ['NC'] * 3
    assert samples[0]['img_path'].endswith('0.jpg') and 'gt_instances' not in samples[0]
    of_night = torch.cat([sample['pred_instances']['scores'] for sample in samples[3:]])
    assert sorted(of_night.tolist()) == pytest.approx(scores['plain'])
    assert 'mean_mAP' in metrics_of(here / 'pickled')
    images = box_data / 'night/VOC2007/JPEGImages'
    run_here('visualize.py', config_file, file, images, '--score-thr', '0', '--save-dir', 's')
    sheets = sorted((here / 's').rglob('*.*'))
    assert [sheet.name for sheet in sheets] == ['0.png', '1.png', '2.png']
