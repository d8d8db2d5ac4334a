"""Predictions of images in all the forms that people have them in."""

import csv
import json
import re
import shutil
from pathlib import Path

import mmcv
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import RUNNERS
from PIL import Image

from soma.inference import Inferencer
from soma.inference.images import to_bgr
from soma.io.checkpoint_files import write_checkpoint
from soma.io.files import InputError
from soma.utils.config import REPOSITORY


@pytest.fixture(scope='module')
def trained(make_tiny, tmp_path_factory):
    config = make_tiny(tmp_path_factory.mktemp('predict') / 'work')
    config.merge_from_dict({'train_cfg.max_iters': 8, 'param_scheduler': None})
    RUNNERS.build(config).train()
    return config, f'{config.work_dir}/iter_8.pth'


def test_all_forms_of_an_image_give_one_prediction(trained, street_data):
    inferencer = Inferencer(*trained, 'cpu')
    file = street_data / 'images/00000.png'
    labels, bgr = inferencer(str(file)), mmcv.imread(str(file))
    rgb = bgr[..., ::-1].copy()
    tensor = torch.from_numpy(rgb).permute(2, 0, 1)
    forms = [file, str(file), bgr, Image.fromarray(rgb), tensor, tensor.double() / 255]
    for form in forms:
        prediction = inferencer.predict(form)
        assert (prediction.labels == labels).all() and (prediction.image == rgb).all()
        assert prediction.scores is None
    many = inferencer.predict([*forms, bgr[:40], bgr], batch_size=3)
    assert [p.labels.shape[0] for p in many] == [48] * 6 + [40, 48]
    assert all((p.labels == labels).mean() > 0.999 for p in (*many[:6], many[7]))


def test_confidence_and_entropy_are_of_the_probabilities(trained, street_data):
    inferencer = Inferencer(*trained, 'cpu')
    prediction = inferencer.predict(street_data / 'images/00000.png', confidence=True)
    sample = inferencer.prepare(street_data / 'images/00000.png').sample
    with torch.no_grad():
        (result,) = inferencer.model.test_step({k: [v] for k, v in sample.items()})
    shares = result.seg_logits.data.softmax(0)
    assert np.allclose(prediction.scores, shares.max(0).values, atol=1e-6)
    entropy = -(shares * shares.log()).sum(0) / np.log(19)
    assert np.allclose(prediction.entropy, entropy, atol=1e-5)
    assert 1 / 19 < prediction.scores.min() < 1 and 0 < prediction.entropy.max() < 1


def test_a_prediction_is_drawn_counted_and_saved(trained, street_data, tmp_path):
    prediction = Inferencer(*trained, 'cpu').predict(street_data / 'images/00000.png')
    prediction.save(tmp_path / 'mask.png')
    assert (np.asarray(Image.open(tmp_path / 'mask.png')) == prediction.labels).all()
    full = prediction.overlay(1)
    assert (full == prediction.palette[prediction.labels]).all()
    assert (prediction.overlay(0) == prediction.image).all()
    shares = prediction.shares()
    assert len(shares) == 19 and sum(shares.values()) == pytest.approx(1)
    assert shares['building'] == (prediction.labels == 2).mean()


def test_a_file_of_weights_alone_is_enough(trained, street_data, tmp_path):
    file = street_data / 'images/00000.png'
    expected = Inferencer(*trained, 'cpu').predict(file).labels
    shutil.copy(trained[1], tmp_path / 'model.pth')
    for path in (tmp_path, tmp_path / 'model.pth'):
        inferencer = Inferencer.from_pretrained(path, device='cpu')
        assert (inferencer.predict(file).labels == expected).all()
    shutil.copy(trained[1], tmp_path / 'other.pth')
    with pytest.raises(InputError, match=r'one checkpoint, it has model.pth, other.pth'):
        Inferencer.from_pretrained(tmp_path)


def shares(folder):
    with Path(folder, 'summary.csv').open(newline='') as file:
        return {row['name']: float(row['building']) for row in csv.DictReader(file)}


def test_the_script(trained, run_here, street_data, tta, tmp_path, capsys):
    config, file = trained
    config_file, images = tmp_path / 'tiny.py', street_data / 'images'
    Config({**config.to_dict(), 'custom_imports': dict(imports=['soma'])}).dump(config_file)
    options = ['--device', 'cpu', '--out']
    run_here('predict.py', config_file, images, '--checkpoint', file, *options, 'out')
    expected = {f'0000{i}': (Image.open(images / f'0000{i}.png')) for i in range(4)}
    model = Inferencer(config, file, 'cpu')
    for name, image in expected.items():
        labels = model.predict(image).labels
        assert (np.asarray(Image.open(f'out/masks/{name}.png')) == labels).mean() > 0.999
        assert shares('out')[name] == pytest.approx((labels == 2).mean(), abs=0.002)
    assert len(shares('out')) == 4
    # the config of the checkpoint; batches and bfloat16 change little
    run_here('predict.py', file, images, *options, 'alone', '--amp', '--batch', '3')
    assert shares('alone') == pytest.approx(shares('out'), abs=0.05)
    Config({**config.to_dict(), **tta}).dump('tta.py')
    run_here('predict.py', 'tta.py', file, images / '00000.png', *options, 'tta', '--tta')
    assert [*shares('tta')] == ['00000']
    assert '1 image in ' in capsys.readouterr().out
    for wrong, message in {
        'tta --tta --score-thr 0.5': 'made with score_thr 0.3, this is 0.5',
        'tta': 'made with tta True, this is False: name another folder',
        'new --tta': 'the config has no tta_pipeline, which --tta needs',
        'new --save boxes': 'the model segments: it has no boxes to save',
        'new --every 2': '--every and --frames are for videos and cameras',
        'new --opacity 2': 'opacity must be from 0 to 1, got 2.0',
        'new --batch 0': 'batch_size must be 1 or more, got 0',
    }.items():
        name = 'tta.py' if wrong.startswith('tta') else config_file
        with pytest.raises(SystemExit, match=f'^error: .*{message}'):
            run_here('predict.py', name, file, images, *options, *wrong.split())
    Path('bad').mkdir()
    Path('bad/x.png').write_text('no image')
    with pytest.raises(SystemExit, match=r'^error: no checkpoint at none\.pth'):
        run_here('predict.py', config_file, 'none.pth', images, *options, 'none')
    assert not Path('none').exists()
    with pytest.raises(SystemExit, match=r'^error: 1 of 1 failed: \S+bad/x.png cannot be read'):
        run_here('predict.py', file, 'bad', *options, 'bad_out')


def test_the_guide(trained, street_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained[0].dump('tiny.py')
    shutil.copy(street_data / 'images/00000.png', 'image.png')
    text = (REPOSITORY / 'docs/user_guides/inference.md').read_text()
    (code,) = re.findall(r'```python\n(from soma.inference .*?)```', text, re.DOTALL)
    code = re.sub(r"'configs/\S+\.py'", "'tiny.py'", code).replace('soma.safetensors', trained[1])
    exec(code, space := {})
    prediction = space['prediction']
    assert (np.asarray(Image.open('mask.png')) == prediction.labels).all()
    assert (space['overlay'] == prediction.overlay(0.5)).all()
    assert 'road' in prediction.shares() and prediction.scores.shape == (48, 80)


def test_the_script_with_a_detector(tiny_detector, build_runner, run_here, box_data, tmp_path):
    file, model = tmp_path / 'det.pth', build_runner(tiny_detector).model
    model.init_weights()
    write_checkpoint({'state_dict': model.state_dict()}, file)
    images = box_data / 'night/VOC2007/JPEGImages'
    tiny_detector.custom_imports = dict(imports=['soma'])
    tiny_detector.dump(tmp_path / 'det.py')
    options = ['--device', 'cpu', '--amp', '--score-thr', '0', '--out', 'out']
    run_here('predict.py', tmp_path / 'det.py', file, images, *options)
    boxes = json.loads(Path('out/boxes.json').read_text())
    assert len(boxes) == 90 and {box['file_name'] for box in boxes} == {'0.jpg', '1.jpg', '2.jpg'}
    with open('out/summary.csv') as rows:
        assert [sum(map(float, row[5:])) for row in [*csv.reader(rows)][1:]] == [30] * 3


def test_a_few_shot_model_is_refused_at_once(tiny_config):
    parts = {key: tiny_config.model[key] for key in ('backbone', 'data_preprocessor')}
    tiny_config.model = dict(type='PrototypeSegmentor', **parts)
    tiny_config.model.data_preprocessor.type = 'EpisodePreProcessor'
    with pytest.raises(InputError, match='a few-shot model segments by support images'):
        Inferencer(tiny_config, 'missing.pth', 'cpu')


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (np.zeros((4, 4, 4), np.uint8), r'\(h, w, 3\) and uint8, got \(4, 4, 4\)'),
        (np.zeros((4, 4, 3)), 'and float64'),
        (torch.full((3, 4, 4), 2.0), 'from 0 to 1'),
        (torch.zeros(4, 4, 3), r'\(3, h, w\), got \(4, 4, 3\)'),
        (7, 'a int is no image'),
        ('missing.png', 'missing.png cannot be read as an image: is missing'),
    ],
)
def test_what_is_no_image_is_refused(image, message):
    with pytest.raises(InputError, match=message):
        to_bgr(image)


def test_files_and_images_of_pillow_are_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.zeros((2, 4, 3), np.uint8)
    stored[0] = 255
    Image.fromarray(stored).save(tmp_path / 'a.png', exif=exif)
    for image in (tmp_path / 'a.png', Image.open(tmp_path / 'a.png')):
        assert to_bgr(image).shape == (4, 2, 3) and (to_bgr(image)[:, 1] == 255).all()
