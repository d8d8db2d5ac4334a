"""Adapters on the Hugging Face Hub: what is put there, and what is read of there."""

import http.server
import json
import os
import re
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from huggingface_hub import HfApi, ModelCard
from mmengine.registry import RUNNERS

from soma.adapters import load_adapter
from soma.adapters.card import BaseCard, Card
from soma.checkpoints import convert_dinov2_file, open_checkpoint, push_to_hub, write_shared
from soma.checkpoints.licences import licence_data
from soma.checkpoints.model_use import public_name, published_base
from soma.checkpoints.shared_card import shared_card
from soma.inference import Inferencer
from soma.io.checkpoint_files import read_checkpoint, write_checkpoint
from soma.io.files import CheckpointError, InputError, check_output
from soma.io.hub import ADAPTER_FILE, find_adapter
from soma.utils.config import REPOSITORY
from soma.utils.config_text import parse_config

NAME = 'someone/streets'
CLOSED = 'http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}'


@pytest.fixture(scope='module')
def trained(make_tiny, tmp_path_factory):
    """A training checkpoint, and the report of its validation."""
    config = make_tiny(tmp_path_factory.mktemp('hub') / 'work')
    hook = dict(type='DomainReportHook')
    config.merge_from_dict({'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2})
    config.custom_hooks.append(hook)
    config.default_hooks.checkpoint.interval = 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('soma.evaluation.report_hook.save_chart', lambda path, report: None)
        RUNNERS.build(config).train()
    work = Path(config.work_dir)
    (report,) = work.glob('*/domains_iter_2.json')
    return work / 'iter_2.pth', report


@pytest.fixture(scope='module')
def shared(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp('shared')
    write_shared(trained[0], folder, NAME, 'apache-2.0', trained[1])
    return folder


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub on this machine that has the folders below ``hub.root``."""
    root, commit = tmp_path / 'models', '0123456789' * 4

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self, body=True):
            user, name, _, revision, file = self.path.lstrip('/').split('/')[:5]
            path, error = root / user / name / file, None
            if not path.parent.is_dir():
                error = 'RepoNotFound'
            elif revision not in ('main', commit):
                error = 'RevisionNotFound'
            elif not path.is_file():
                error = 'EntryNotFound'
            content = b'' if error else path.read_bytes()
            self.send_response(404 if error else 200)
            self.send_header('Content-Length', str(len(content)))
            self.send_header('X-Repo-Commit', commit)
            self.send_header('ETag', f'"{len(content)}"')
            if error:
                self.send_header('X-Error-Code', error)
            self.end_headers()
            self.wfile.write(content if body else b'')

        def do_HEAD(self):
            self.do_GET(body=False)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    use_endpoint(monkeypatch, f'http://127.0.0.1:{server.server_port}', tmp_path / 'cache')
    yield SimpleNamespace(root=root, commit=commit)
    server.shutdown()
    server.server_close()


def use_endpoint(monkeypatch, address, cache):
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, 'ENDPOINT', address)
    template = f'{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}'
    monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE', template)
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(cache))


def guide(**names):
    """The Python blocks of the guide, with others in the place of some names."""
    text = (REPOSITORY / 'docs/user_guides/sharing.md').read_text()
    for name, value in names.items():
        assert name in text
        text = text.replace(name, value)
    return re.findall(r'```python\n(.*?)```', text, re.DOTALL)


def test_a_shared_model_predicts_as_the_trained_one(
    trained, hub, monkeypatch, street_data, public_file, tmp_path, caplog
):
    uploaded = []

    def create(self, repo, private, exist_ok):
        assert not private and exist_ok
        return f'https://huggingface.co/{repo}'

    def upload(self, repo_id, folder_path, allow_patterns, commit_message):
        assert sorted(allow_patterns) == sorted(path.name for path in Path(folder_path).iterdir())
        shutil.copytree(folder_path, hub.root / repo_id, dirs_exist_ok=True)
        uploaded.append(hub.root / repo_id)

    monkeypatch.setattr(HfApi, 'create_repo', create)
    monkeypatch.setattr(HfApi, 'upload_folder', upload)
    image = street_data / 'images/00000.png'
    files = {
        'work_dirs/soma': str(trained[0].parent),
        'dinov2_vitl14': str(public_file),
        'image.png': str(image),
    }
    push, use = guide(**files)
    exec(push, {})
    assert uploaded == [hub.root / NAME]

    exec(use, names := {})
    expected = Inferencer.from_pretrained(trained[0], device='cpu')
    assert (names['prediction'].labels == expected.predict(image).labels).all()
    assert names['model'].classes == expected.classes
    assert open_checkpoint(NAME).card.method == 'SoMA'
    by_name = Inferencer(names['model'].config, NAME, 'cpu', str(public_file))
    assert by_name.checkpoint.is_file() and by_name.base == public_file
    assert find_adapter(NAME, hub.commit).is_file()
    message = rf'^\S+{ADAPTER_FILE} needs pretrained weights \(in training \S+\): '
    message += r'.*; or name your file as base \(--base\)$'
    with pytest.raises(FileNotFoundError, match=message):
        Inferencer.from_pretrained(NAME, device='cpu')
    monkeypatch.chdir(tmp_path)
    others = {name: value + 1 for name, value in read_checkpoint(public_file).items()}
    write_checkpoint(others, public_file.name)  # which are not taken
    with pytest.raises(FileNotFoundError, match=message):
        Inferencer.from_pretrained(NAME, device='cpu')
    shutil.copy(public_file, tmp_path)
    alone = Inferencer.from_pretrained(NAME, device='cpu')
    for name, value in alone.model.state_dict().items():
        assert torch.equal(value, expected.model.state_dict()[name])
    assert 'had' not in caplog.text
    push_to_hub(trained[0], NAME, 'mit')
    assert f'{NAME} had scores on its page and has none now: give the report' in caplog.text
    monkeypatch.setattr(huggingface_hub.constants, 'HUGGINGFACE_CO_URL_TEMPLATE', CLOSED)
    assert find_adapter(NAME).is_file()  # without a network, what was fetched


def test_a_private_model_does_not_become_public(trained, monkeypatch):
    monkeypatch.setattr(HfApi, 'create_repo', lambda self, repo, **_: 'https://x/y')
    monkeypatch.setattr(HfApi, 'repo_info', lambda self, repo: SimpleNamespace(private=False))
    monkeypatch.setattr(HfApi, 'upload_folder', None)
    with pytest.raises(InputError, match='https://x/y is public'):
        push_to_hub(trained[0], NAME, 'mit', private=True)

    def refuse(self, repo, **_):
        raise OSError('401 Client Error\nUnauthorized')

    monkeypatch.setattr(HfApi, 'create_repo', refuse)
    with pytest.raises(InputError, match=r'\(401 Client Error Unauthorized\): hf auth login'):
        push_to_hub(trained[0], NAME, 'mit')


def test_shared_files_name_no_folder_of_this_machine(trained, shared, public_file):
    assert sorted(path.name for path in shared.iterdir()) == ['README.md', 'adapter.safetensors']
    original = open_checkpoint(trained[0]).card
    assert str(public_file) in original.config and original.base.file == str(public_file)
    for path in shared.iterdir():
        content = path.read_bytes()
        for text in (str(public_file.parent), str(Path.home()), '/tmp', 'work_dir', 'data_root'):
            assert text.encode() not in content, (path, text)
    card = open_checkpoint(shared / 'adapter.safetensors').card
    assert card.base.file == public_file.name and card.base.hash == original.base.hash
    assert f"checkpoint='checkpoints/{public_file.name}'" in re.sub(r'\s', '', card.config)
    assert card.classes == original.classes and card.settings == original.settings


@pytest.mark.parametrize(
    ('file', 'public'),
    [
        ('/home/me/base.pth', 'checkpoints/base.pth'),
        ('secret/base.safetensors', 'checkpoints/base.safetensors'),
        ('base.pth', 'checkpoints/base.pth'),
        ('s3://bucket/base', 'checkpoints/base'),
        ('dinov2_vits14', 'dinov2_vits14'),  # by their names, not places
        ('timm/vit_base_patch16_clip_224.openai', 'timm/vit_base_patch16_clip_224.openai'),
    ],
)
def test_cards_name_files_without_folders(file, public):
    text = (
        "model = dict(type='A', backbone=dict(type='B', init_cfg=dict(type='Pretrained', "
        f"checkpoint={file!r})))\ntest_pipeline = [dict(type='C')]\nwork_dir = '/home/me'"
    )
    card = Card(
        config=text,
        classes=['road/track', 'sky'],
        base=BaseCard(file=file),
        average={'files': ['/home/me/a.pth', r'C:\me\b.pth', 'runs/c.pth']},
        extra={'by': {'me': ['~/notes.txt']}},
    )
    card = shared_card(card, 'f')
    config = parse_config(card.config, 'f')
    assert config.keys() == {'model', 'test_pipeline'}
    assert config.model.backbone.init_cfg.checkpoint == public
    assert card.average == {'files': ['a.pth', 'b.pth', 'c.pth']}
    assert card.extra == {'by': {'me': ['notes.txt']}} and 'road/track' in card.classes
    assert card.base.file == public.rpartition('/')[2]


def test_the_page_of_a_detector(trained, tmp_path):
    scores = dict(AP={'car': 20.0}, mAP=20.0)
    domains = dict(day=scores, night=dict(scores, mAP=None))
    report = dict(score='AP', domains=domains, mean_over=['day'], mean=dict(mAP=20.0))
    (tmp_path / 'r.json').write_text(json.dumps(report))
    _, page = write_shared(trained[0], tmp_path, NAME, 'mit', tmp_path / 'r.json')
    data = ModelCard.load(page).data
    assert data.pipeline_tag == 'object-detection'
    results = {(result.dataset_name, result.metric_value) for result in data.eval_results}
    assert results == {('day', 20.0), ('mean of day', 20.0)}


def test_the_page_has_the_metadata_of_the_hub(trained, shared):
    page = ModelCard.load(shared / 'README.md')
    data, report = page.data, json.loads(trained[1].read_text())
    assert (data.license, data.library_name, data.pipeline_tag) == (
        'apache-2.0',
        'soma',
        'image-segmentation',
    )
    assert {'soma', 'semantic-segmentation'} <= {*data.tags} and data.model_name == 'streets'
    scores = {result.dataset_name: result.metric_value for result in data.eval_results}
    assert {result.dataset_split for result in data.eval_results} == {'validation'}
    expected = {name: round(domain['mIoU'], 2) for name, domain in report['domains'].items()}
    assert scores == {**expected, 'mean of citys, fog': round(report['mean']['mIoU'], 2)}
    assert {result.metric_type for result in data.eval_results} == {'mean_iou'}
    for name, score in expected.items():
        assert f'| {name} | {score:.2f} |' in page.text
    tensors = open_checkpoint(shared / 'adapter.safetensors')
    names = tensors.adapter_names | tensors.bias_names
    adapter = sum(tensors.tensors[name].numel() for name in names)
    assert f'{adapter:,} of the adapter' in page.text and '| trained on | gta |' in page.text
    assert tensors.card.base.hash in page.text and 'base_model' not in page.content


def test_the_snippets_of_the_page_are_true(shared, public_file, tmp_path, monkeypatch, run_here):
    """The commands and Python of the page, with the file in the place of the model's name."""
    text = (shared / 'README.md').read_text()
    text = text.replace(NAME, str(shared / 'adapter.safetensors'))
    text = text.replace(f' {public_file.name}', f' {public_file}')
    commands = re.findall(r'^python tools/(export_\S+) (.*)$', text, re.MULTILINE)
    assert len(commands) == 2
    for script, arguments in commands:
        run_here(script, *arguments.split())
    blocks = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
    names = {}
    exec(blocks[1], names)
    folded, names['backbone'] = names['backbone'].eval(), converted(names['backbone'], public_file)
    exec(blocks[2], names)
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = folded.forward_features(image)
        actual = names['model'].base_model.model.eval().forward_features(image)
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


def converted(like, public_file):
    """A timm model with the pretrained weights, at the sizes of another."""
    convert_dinov2_file(public_file, 'converted.pth', (32, 32), 8)
    state = read_checkpoint('converted.pth')['state_dict']
    state.pop('mask_token', None)
    model = type(like)(32, 8, embed_dim=16, depth=4, num_heads=2, init_values=1, num_classes=0)
    model.load_state_dict(state)
    return model


def test_the_script_writes_a_folder(trained, run_here, tmp_path, capsys, caplog):
    arguments = [trained[0], NAME, '--to', tmp_path / 'out', '--licence']
    text = 'https://example.org/licences/own-1'
    run_here('push_to_hub.py', *arguments, text, '--base-model', 'facebook/dinov2-small')
    assert capsys.readouterr().out.split() == [
        str(tmp_path / 'out' / name) for name in ('adapter.safetensors', 'README.md')
    ]
    data = ModelCard.load(tmp_path / 'out/README.md').data
    assert data.base_model == 'facebook/dinov2-small' and data.base_model_relation == 'adapter'
    assert (data.license, data.license_name, data.license_link) == ('other', 'own-1', text)
    assert data.eval_results is None
    assert not caplog.text
    run_here('push_to_hub.py', *arguments, 'mit')
    assert f'out had {ADAPTER_FILE} and README.md, which is written over' in caplog.text
    with pytest.raises(SystemExit, match="error: 'nice' is no licence that the hub knows"):
        run_here('push_to_hub.py', *arguments, 'nice')


def test_dinov2s_own_weights_are_named():
    base = BaseCard(arch='large', registers=4, file='dinov2_converted.pth')
    assert published_base(base) == 'facebook/dinov2-with-registers-large'
    assert public_name(base) == 'dinov2_vitl14_reg'
    assert public_name(BaseCard(file='sam_vit_h_4b8939.pth')) == 'sam_vit_h'
    assert published_base(BaseCard(arch='large', file='dinov2_mine.pth')) is None
    text = (
        "model = dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='a/b.pth')))\n"
        "test_pipeline = [dict(type='C')]"
    )
    config = parse_config(shared_card(Card(config=text, base=base), 'f').config, 'f')
    assert config.model.backbone.init_cfg.checkpoint == 'dinov2_vitl14_reg'


@pytest.mark.parametrize('name', ['streets', 'a/b/c', 'a--b/c', './x'])
def test_other_names_are_refused(trained, tmp_path, name):
    with pytest.raises(InputError, match=re.escape(name)):
        write_shared(trained[0], tmp_path / 'out', name, 'mit')
    assert not (tmp_path / 'out').exists()


def test_what_is_no_report_or_no_adapter_is_refused(trained, tmp_path):
    for content in ('[]', '{"score": "IoU", "domains": {"a": {}}}', 'x'):
        (tmp_path / 'r.json').write_text(content)
        with pytest.raises(InputError, match=r'r\.json is no report of a test'):
            write_shared(trained[0], tmp_path, NAME, 'mit', tmp_path / 'r.json')
    write_checkpoint({'state_dict': {'a.weight': torch.ones(2)}}, tmp_path / 'plain.pth')
    with pytest.raises(InputError, match=r'plain\.pth holds no adapter'):
        write_shared(tmp_path / 'plain.pth', tmp_path, NAME, 'mit')


def test_only_the_adapter_file_is_fetched(hub):
    folder = hub.root / 'a/pickles'
    folder.mkdir(parents=True)
    (folder / 'pytorch_model.bin').write_bytes(b'x')
    with pytest.raises(InputError, match=r'a/pickles has no adapter\.safetensors, and other files'):
        find_adapter('a/pickles')
    with pytest.raises(InputError, match=r'nor a model http.*/a/nothing that you may see'):
        load_adapter(torch.nn.Linear(2, 2), 'a/nothing')
    (folder / 'adapter.safetensors').write_bytes(b'x')
    with pytest.raises(InputError, match='a/pickles has no revision v7'):
        find_adapter('a/pickles', 'v7')
    with pytest.raises(InputError, match=r'x\.pth is no name of a model'):
        find_adapter('x.pth', 'main')


def test_without_a_network_one_line_says_what_to_do(trained, monkeypatch, tmp_path):
    use_endpoint(monkeypatch, 'http://127.0.0.1:9', tmp_path)
    address = 'http://127.0.0.1:9/a/b/resolve/main/adapter.safetensors'
    with pytest.raises(InputError, match=f'cannot be reached: fetch {address} elsewhere') as caught:
        open_checkpoint('a/b')
    assert '\n' not in str(caught.value)
    monkeypatch.setenv('HF_TOKEN', 'hf_x')
    with pytest.raises(InputError, match=f'{NAME} is not put on the hub .*refused'):
        push_to_hub(trained[0], NAME, 'mit')


def test_paths_are_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('user').mkdir()
    Path('user/name').touch()
    paths = ('user/name', 'work_dirs/final.pth', './a/b', '/a/b', 'timm/vit', Path('a/b'))
    for path in paths:
        assert find_adapter(path) == path


def test_a_work_dir_is_its_best_checkpoint_or_its_last(tmp_path, caplog):
    def touch(name, age):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (age, age))
        return tmp_path / name

    with pytest.raises(InputError, match=r'must have one checkpoint, it has none: train first'):
        find_adapter(tmp_path)
    only = touch('adapter.safetensors', 9)
    touch('.adapter.1.safetensors', 9)
    assert find_adapter(str(tmp_path)) == only
    last = touch('iter_2.pth', 1)
    with pytest.raises(InputError, match=r'it has adapter\.safetensors, iter_2\.pth: name one'):
        find_adapter(tmp_path)
    assert not caplog.text
    (tmp_path / 'last_checkpoint').write_text('/nowhere/work/iter_2.pth')  # it has moved
    assert find_adapter(tmp_path) == last
    best = touch('best_mIoU_iter_3.pth', 3)
    touch('best_mIoU_iter_9.pth', 2)  # of an older training
    assert find_adapter(tmp_path) == best == find_adapter(tmp_path)
    with pytest.raises(CheckpointError, match=r'best_mIoU_iter_3\.pth is read too'):
        check_output(best, [tmp_path])
    os.utime(last, (4, 4))  # not whole, so that it does not tell
    assert find_adapter(tmp_path) == best
    for name, expected in ((best.name, best), ('best_mIoU_iter_1.pth', last)):
        info = dict(best_score=1.0, best_ckpt=f'/elsewhere/{name}')
        torch.save(dict(message_hub=dict(runtime_info=info)), last)
        assert find_adapter(tmp_path) == expected  # of the training of the last, or of another
    touch('best_fog_mIoU_iter_3.pth', 2**40)
    touch(best.name, 2**40)
    with pytest.raises(InputError, match=r'it has best_fog\S+, best_mIoU_iter_3\.pth: name one'):
        find_adapter(tmp_path)
    assert [record.getMessage() for record in caplog.records] == [
        f'{tmp_path}: its last checkpoint iter_2.pth is taken, that training has no best',
        f'{tmp_path}: its best checkpoint best_mIoU_iter_3.pth is taken',
    ]


def test_a_work_dir_whose_checkpoints_are_elsewhere_has_the_best_of_them(tmp_path):
    work, out = tmp_path / 'work', tmp_path / 'out[1]'
    for folder in (work, out):
        folder.mkdir()
    for name in ('best_mIoU_iter_2.pth', 'iter_2.pth'):
        (out / name).touch()
    (work / 'last_checkpoint').write_text(f'{out}/iter_2.pth')
    assert find_adapter(work) == out / 'best_mIoU_iter_2.pth'
    (work / 'iter_4.pth').touch()
    (work / 'last_checkpoint').write_text('x' * 300)  # no name that a file may have
    assert find_adapter(work) == work / 'iter_4.pth'


def test_licences():
    assert licence_data('cc-by-nc-4.0') == {'license': 'cc-by-nc-4.0'}
    with pytest.raises(InputError, match='is no licence'):
        licence_data('http://example.org/own')
