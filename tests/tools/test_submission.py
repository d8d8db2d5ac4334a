import tarfile
import zipfile

import numpy as np
import pytest
import torch
from mmengine.registry import METRICS
from mmengine.structures import PixelData
from PIL import Image
from submission import pack_submission

from soma.datasets.labels import TRAIN_TO_CITYSCAPES
from soma.io.files import CheckpointError, InputError

NAMES = {
    'acdc': [
        f'rgb_anon/{c}/test/GOPR1/GOPR1_frame_00000{i}_rgb_anon.png'
        for i, c in enumerate(('fog', 'night'))
    ],
    'cityscapes': [
        f'leftImg8bit/test/berlin/berlin_00000{i}_000019_leftImg8bit.png' for i in (0, 1)
    ],
    'bravo': [
        'bravo_ACDC/fog/test/GOPR1/GOPR1_frame_000000_rgb_anon.png',
        'bravo_SMIYC/RoadAnomaly21/images/zebra0001.jpg',
        *(f'bravo_{part}/lindau/x_leftImg8bit.png' for part in ('outofcontext', 'synflare')),
        'bravo_synobjs/polar bear/4.png',
        'bravo_synrain/lindau/x_leftImg8bit.png',
    ],
}

OUT = {'acdc': 'x.zip', 'cityscapes': 'x.zip', 'bravo': 'x.tar'}


@pytest.fixture(params=NAMES)
def server(request, tmp_path):
    """Test images and predictions; the name of the server."""
    rng = np.random.default_rng(0)
    for name in NAMES[request.param]:
        image = tmp_path / 'data' / name
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (6, 4)).save(image)
        domain = {'acdc': image.parts[-4], 'bravo': '_'.join(name.split('/')[:2])}
        prediction = tmp_path / 'out' / domain.get(request.param, 'citys') / f'{image.stem}.png'
        prediction.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(TRAIN_TO_CITYSCAPES[rng.integers(0, 19, (4, 6))]).save(prediction)
        if request.param == 'bravo':
            confidence = rng.integers(0, 2**16, (4, 6)).astype(np.uint16)
            Image.fromarray(confidence).save(prediction.with_name(f'{image.stem}_conf.png'))
    return request.param


def pack(server, root):
    return pack_submission(server, root / 'out', root / 'data', root / OUT[server])


@pytest.mark.parametrize('server', ['bravo'], indirect=True)
def test_bravo_gets_train_ids_and_confidences_in_the_folders_of_the_images(server, tmp_path):
    assert pack('bravo', tmp_path) == 6
    with tarfile.open(tmp_path / 'x.tar') as archive:
        files = {
            name: np.array(Image.open(archive.extractfile(name))) for name in archive.getnames()
        }
    assert len(files) == 12
    for name in NAMES['bravo']:
        stem = name.rpartition('.')[0]
        made = tmp_path / 'out' / '_'.join(name.split('/')[:2]) / stem.split('/')[-1]
        ids = TRAIN_TO_CITYSCAPES[files[f'{stem}_pred.png']]
        assert np.array_equal(ids, Image.open(f'{made}.png'))
        assert np.array_equal(files[f'{stem}_conf.png'], Image.open(f'{made}_conf.png'))
    Image.new('L', (6, 4)).save(f'{made}_conf.png')
    with pytest.raises(InputError, match=r'leftImg8bit_conf\.png has 8 bits, confidences have 16'):
        pack('bravo', tmp_path)
    (tmp_path / 'data' / name).unlink()
    with pytest.raises(FileNotFoundError, match='no test images bravo_synrain'):
        pack('bravo', tmp_path)


@pytest.mark.parametrize('server', ['acdc', 'cityscapes'], indirect=True)
def test_one_file_a_image_in_the_ids_of_the_server(server, tmp_path):
    assert pack(server, tmp_path) == 2
    folder = {'acdc': 'labelTrainIds/', 'cityscapes': ''}[server]
    with zipfile.ZipFile(tmp_path / 'x.zip') as archive:
        names = sorted(archive.namelist())
        assert names == sorted(folder + name.split('/')[-1] for name in NAMES[server])
        for name in names:
            with archive.open(name) as file, Image.open(file) as image:
                packed = np.array(image)
            (prediction,) = (tmp_path / 'out').glob('*/' + name.removeprefix(folder))
            ids = np.array(Image.open(prediction))
            expected = packed if server == 'cityscapes' else TRAIN_TO_CITYSCAPES[packed]
            assert np.array_equal(ids, expected)
            assert server == 'cityscapes' or packed.max() < 19


def test_what_a_server_would_refuse_is_refused_here(server, tmp_path):
    path = sorted((tmp_path / 'out').glob('*/*.png'))[0]
    whole = path.read_bytes()
    Image.fromarray(np.full((4, 6), 6, np.uint8)).save(path)
    with pytest.raises(ValueError, match='other values than the 19 Cityscapes ids'):
        pack(server, tmp_path)
    Image.fromarray(np.full((4, 5), 7, np.uint8)).save(path)
    with pytest.raises(ValueError, match='5 x 4 pixels, its image 6 x 4'):
        pack(server, tmp_path)
    path.write_bytes(b'')
    with pytest.raises(ValueError, match=f'{path.name} is damaged'):
        pack(server, tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r'1 of the \d+ predictions of .* make them with'):
        pack(server, tmp_path)
    assert not (tmp_path / OUT[server]).exists()
    path.write_bytes(whole)
    with pytest.raises(FileNotFoundError, match='no test images'):
        pack_submission(server, tmp_path / 'out', tmp_path / 'nowhere', tmp_path / OUT[server])


def test_predictions_of_other_classes_are_refused(server, tmp_path):
    """Whose places look like Cityscapes ids."""
    path = sorted((tmp_path / 'out').glob('*/*.png'))[0]
    metric = METRICS.build(dict(type='DomainIoUMetric', output_dir=str(tmp_path), format_only=True))
    metric.dataset_meta = dict(classes=[f'class {index}' for index in range(25)])
    prediction = PixelData(data=torch.full((1, 4, 6), 8))
    domain = path.parent.name
    made = dict(img_path=f'x/{path.name}', domain=domain, pred_sem_seg=dict(prediction.items()))
    metric.process({}, [made])
    (tmp_path / domain / path.name).replace(path)
    with pytest.raises(InputError, match=r'has other classes than the 19 .*: class 0, class 1'):
        pack(server, tmp_path)


def test_images_of_one_name_are_refused(server, tmp_path):
    image = sorted((tmp_path / 'data').rglob('*.png'))[0]
    (image.parent.parent / 'other').mkdir()
    (image.parent.parent / 'other' / image.name).write_bytes(image.read_bytes())
    with pytest.raises(ValueError, match='have one name'):
        pack(server, tmp_path)
    with pytest.raises(CheckpointError, match='is a directory'):
        pack_submission(server, tmp_path / 'out', tmp_path / 'data', tmp_path)


def test_script(server, tmp_path, run_here, capsys):
    folders = tmp_path / 'out', tmp_path / 'data'
    run_here('misc/pack_submission.py', server, *folders, tmp_path / OUT[server])
    assert f'{len(NAMES[server])} predictions' in capsys.readouterr().out
    assert (tmp_path / OUT[server]).exists()
