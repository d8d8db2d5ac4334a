"""A table of bad inputs: each ends with its exit code and with words that say what is wrong.

A traceback is for faults of the program. ``@name`` is a file of ``bad_files.py``.
"""

import itertools
import re
import shlex

import pytest
from bad_files import make_all

# What stands before each row, the exit code, and rows of arguments and words (regular expressions).
TRAIN = [
    ('@nowhere.py', 'no config file .*nowhere.py'),
    ('@syntax.py', r'syntax.py cannot be read: SyntaxError: .* line 1'),
    ('@no_base.py', r'no_base.py cannot be read: .*nowhere\.py'),
    ('@division.py', r'division.py cannot be read: ZeroDivisionError'),
    ('@config.txt', r'config.txt cannot be read'),
    ('@no_model.py', 'the config has no model'),
    ('@typo.py', "nothing reads the key 'train_dataloder': is it 'train_dataloader'"),
    ('@tiny.py --resume @nowhere.pth', r'no checkpoint at .*nowhere\.pth'),
    ('@tiny.py --resume @adapter.safetensors', 'holds no state of training to resume from'),
    ('@tiny.py --resume @text.pth', r'text\.pth is damaged or no checkpoint'),
    ('@tiny.py --resume @bomb.pth', r'bomb\.pth .* wants to call .*mkdir.* --trust'),
    (
        '@tiny.py --work-dir @tiny.py',
        r'nothing can be written to the folder .*tiny\.py \(File exists',
    ),
    ('@tiny.py --launcher slurm', 'launcher slurm needs srun'),
    ('@tiny.py --launcher mpi', 'launcher mpi needs mpirun'),
]
TRAIN_OPTIONS = [
    ('train_dataloder.batch_size=3', "'train_dataloder': is it 'train_dataloader'"),
    ('colour=blue', "nothing reads the key 'colour'"),
    ('param_scheduler.7.end=3', 'does not fit .*tiny.py: .*7'),
    ('model=3', 'model'),
    ('train_cfg.max_iters=-5', 'train_cfg.max_iters must be a whole number of at least 1'),
    ('train_cfg.max_iters=many', 'train_cfg.max_iters must be .*many'),
    ('train_cfg.max_iters=2.5', r'train_cfg.max_iters must be .*2\.5'),
    ('train_cfg.val_interval=0', 'train_cfg.val_interval must be'),
    ('train_cfg.type=Loop', 'train_cfg: Loop is not in'),
    ('train_dataloader.batch_size=0', 'train_dataloader.batch_size must be'),
    ('train_dataloader.num_workers=-1', 'train_dataloader.num_workers must be'),
    ('train_dataloader.batchsize=3', "train_dataloader: .*'batchsize'"),
    ('train_dataloader.sampler.type=Sampler', r'train_dataloader\.sampler: Sampler is not in'),
    ('train_dataloader=None', 'the config has .*, but no train_dataloader'),
    ('val_evaluator=None', 'the config has val_dataloader, but no val_evaluator'),
    ('optim_wrapper.optimizer.lr=abc', 'optim_wrapper.optimizer.lr must be a number .*abc'),
    ('optim_wrapper.optimizer.lr=-1', 'optim_wrapper.optimizer.lr must be'),
    ('optim_wrapper.optimizer.type=Adamm', 'optim_wrapper: .*Adamm'),
    ('optim_wrapper.optimizer.momentumm=1', "optim_wrapper.*'momentumm'"),
    ('optim_wrapper.type=Wrapper', 'optim_wrapper: Wrapper is not in'),
    ('optim_wrapper.accumulative_counts=0', 'optim_wrapper.accumulative_counts must be'),
    ('param_scheduler.0.type=Polly', 'param_scheduler.0: Polly is not in'),
    ('param_scheduler.0.begin=9', 'param_scheduler.0: .*begin=9'),
    ('param_scheduler.0.power=high', 'param_scheduler.0.power must be'),
    ('default_hooks.checkpoint.interval=often', 'default_hooks.checkpoint.interval must be'),
    ('default_hooks.checkpoint.save_best=mIoU', "save_best='mIoU' is none of the scores"),
    ('custom_hooks.0.type=Freeze', 'custom_hooks.0: Freeze is not in'),
    ('custom_hooks.0.interval=3', 'custom_hooks.0: .*takes no arguments'),
    ('val_evaluator.type=Metric', 'val_evaluator: Metric is not in'),
    ('val_evaluator.mean_over=[rain]', 'mean_over names .*rain'),
    ('val_evaluator.mean_over=citys', 'val_evaluator: mean_over must be a list'),
    ('val_evaluator.ignore_indx=3', "val_evaluator: .*'ignore_indx'"),
    ('randomness.seed=abc', 'randomness'),
    ('model.type=Segmentor', 'model: Segmentor is not in'),
    ('model.test_cfg.stride=[0,0]', 'model.test_cfg.stride.0 must be'),
    ('model.decode_head.num_classes=7', r'decode_head.num_classes is 7, .* 19 classes'),
    ('model.backbone.type=DINOv3', r'model\.backbone: DINOv3 is not in'),
    ('model.backbone.arch=vit_huge', 'model.backbone: .*vit_huge'),
    ('model.backbone.patch_size=0', 'model.backbone: .*patch'),
    ('model.backbone.img_size=33', 'model.backbone: .*33'),
    ('model.backbone.out_indices=[0,1,2,99]', 'model.backbone: .*99'),
    ('model.backbone.frozen_blocks=99', 'model.backbone: .*frozen_blocks.*99'),
    ('model.backbone.pyramid=[4,2]', 'model.backbone: .*pyramid'),
    ('model.backbone.depth=3', "model.backbone: .*'depth'"),
    ('model.backbone.adapter.type=SoMAA', 'model.backbone: .*SoMAA'),
    ('model.backbone.adapter.rank=0', 'model.backbone: .*rank.*0'),
    ('model.backbone.adapter.rank=2.5', r'model.backbone: .*rank.*2\.5'),
    ('model.backbone.adapter.rank=eight', 'model.backbone: .*rank.*eight'),
    ('model.backbone.adapter.rank=999', '999'),
    ('model.backbone.adapter.alpha=0', 'model.backbone: .*alpha.*0'),
    ('model.backbone.adapter.alpha=two', 'model.backbone: .*alpha.*two'),
    ('model.backbone.adapter.start_block=99', 'model.backbone: .*start_block 99'),
    ('model.backbone.adapter.targets=attention', 'model.backbone: .*attention'),
    ('model.backbone.adapter.targets=(', r'model.backbone: .*\('),
    ('model.backbone.adapter.exclude=nothing', 'model.backbone: .*exclude.*nothing'),
    ('model.backbone.adapter.rnk=3', 'model.backbone: .*rnk'),
    ('model.backbone.adapter.lora_dropout=0.1', 'model.backbone: .*lora_dropout.*leave it out'),
    ('model.backbone.frozen_parameters=norm', 'model.backbone: .*leave frozen_parameters out'),
    ('model.backbone.init_cfg.checkpoint=@nowhere.pth', r'no checkpoint at .*nowhere\.pth'),
    ('model.backbone.init_cfg.checkpoint=@text.pth', r'text\.pth is damaged'),
    ('model.backbone.init_cfg.checkpoint=@cut.pth', r'cut\.pth is damaged'),
    ('model.backbone.init_cfg.checkpoint=@bomb.pth', r'bomb\.pth .* --trust'),
    ('model.backbone.init_cfg.checkpoint=@nan_base.pth', r'nan_base\.pth.*qkv'),
    ('model.backbone.init_cfg.checkpoint=@other.safetensors', r'other\.safetensors'),
    ('model.backbone.init_cfg.checkpoint=https://example.com/a.pth', 'no local file'),
    ('load_from=@nowhere.pth', r'no checkpoint at .*nowhere\.pth'),
    ('load_from=@nowhere_*.pth', r'nowhere_\*\.pth must fit one file, it fits none'),
    ('load_from=@nan.pth', r'nan\.pth.*backbone.blocks.2.attn.qkv.weight'),
    (
        'load_from=@wide.pth',
        r'wide\.pth has other heads .*conv_seg.bias is \[7\] there.*load_heads=False',
    ),
    ('load_from=@short.pth', r'short\.pth has other heads .*bias is missing there'),
    ('train_dataloader.dataset.type=Data', r'train_dataloader\.dataset: Data is not in'),
    (
        'train_dataloader.dataset.data_root=@nowhere',
        r'no folder .*nowhere \(data_root of the domain gta\)',
    ),
    ('train_dataloader.dataset.img_suffix=.gif', r'no \*\.gif in'),
    ('train_dataloader.dataset.ann_file=@nowhere.txt', r'no list .*nowhere\.txt'),
    ('train_dataloader.dataset.ann_file=@data/lists/none.txt', r'none\.txt'),
    ('train_dataloader.dataset.domain=3', 'train_dataloader.dataset: .*domain'),
    ('train_dataloader.dataset.metainfo.classes=car', 'car'),
    ('train_dataloader.dataset.metainfo.classes=[car,car]', 'car'),
    ('train_dataloader.dataset.metainfo.classes=[spaceship]', 'spaceship'),
    ('train_dataloader.dataset.pipeline.0.type=Load', r'dataset\.pipeline\.0: Load is not in'),
    ('train_dataloader.dataset.data_root=@data/value', r'_labelTrainIds\.png.* 77'),
    ('train_dataloader.dataset.data_root=@data/cut', r'_labelTrainIds\.png.*check_data'),
    ('train_dataloader.dataset.data_root=@data/size', r'_labelTrainIds\.png.*40'),
    ('train_dataloader.dataset.data_root=@data/colour', r'_labelTrainIds\.png.*check_data'),
    ('train_dataloader.dataset.data_root=@data/empty', r'0000.\.png.*check_data'),
    ('train_dataloader.dataset.data_root=@data/unlabelled', r'_labelTrainIds\.png'),
]
TEST = [
    ('@nowhere.pth', r'no checkpoint at .*nowhere\.pth'),
    ('@empty.pth', r'empty\.pth is empty'),
    ('@text.pth', r'text\.pth is damaged'),
    ('@cut.pth', r'cut\.pth is damaged'),
    ('@bomb.pth', r'bomb\.pth .* --trust'),
    ('@no_tensors.pth', r'no_tensors\.pth is no state dict'),
    ('@nothing.pth', r'nothing\.pth holds no parameters'),
    ('@header.safetensors', r'header\.safetensors is damaged'),
    ('@folder.pth', r'folder\.pth must have one checkpoint, it has none: train first'),
    ('@nan.pth', r'nan\.pth.*backbone.blocks.2.attn.qkv.weight'),
    ('@nan_adapter.safetensors --base @base.pth', r'nan_adapter\.safetensors.*backbone'),
    ('@adapter.safetensors --base @nan_base.pth', r'nan_base\.pth.*qkv'),
    ('@adapter.safetensors --base @other_base.pth', r'other_base\.pth'),
    ('@adapter.safetensors --base @nowhere.pth', r'no checkpoint at .*nowhere\.pth'),
    ('@merged.pth --base @base.pth', r'merged\.pth.*--base'),
    ('@short.pth', r'short\.pth does not fit the model: missing'),
    ('@wide.pth', r'wide\.pth does not fit the model: decode_head'),
    ('@extra.pth', r'extra\.pth does not fit the model: unexpected: extra'),
    ('@card_alpha_nan.safetensors --base @base.pth', r'card_alpha_nan.*alpha'),
    ('@card_alpha_text.safetensors --base @base.pth', r'card_alpha_text.*alpha'),
    ('@card_rank_zero.safetensors --base @base.pth', r'card_rank_zero.*rank'),
    ('@card_method.safetensors --base @base.pth', r'card_method.*SoMAA'),
    ('@card_escape.safetensors --base @base.pth', r'card_escape'),
    ('@card_targets.safetensors --base @base.pth', r'card_targets'),
    ('@card_more_targets.safetensors --base @base.pth', r'card_more_targets.*blocks\.9'),
    ('@card_classes.safetensors --base @base.pth', r'card_classes.*classes'),
    ('@card_size.safetensors --base @base.pth', r'card_size'),
    ('@merged.pth --test-data @nowhere.py', r'no config file .*nowhere\.py'),
    ('@merged.pth --test-data @no_model.py', r'no_model\.py has no test_dataloader'),
    ('@merged.pth --tta', 'no tta_pipeline'),
    ('@merged.pth --out @tiny.py', r'tiny\.py'),
    ('@merged.pth --out x.pkl', r'--out x\.pkl: the predictions are images, name a folder'),
    ('@merged.pth --show-dir @tiny.py', r'tiny\.py'),
    ('@merged.pth --cfg-options test_evaluator.format_only=True', 'give --out'),
    ('@merged.pth --cfg-options test_evaluator.mean_over=[rain]', 'mean_over names .*rain'),
    ('@merged.pth --cfg-options test_dataloader.dataset.datasets.1.domain=citys', 'citys'),
    ('@merged.pth --cfg-options model.decode_head.num_classes=7', '7'),
    ('@merged.pth --corruptions mist', "no corruption 'mist': choose from all"),
    ('@merged.pth --corruptions fog --reference @tiny.py', r'tiny\.py is no report'),
    ('@merged.pth --cfg-options test_dataloader.dataset.datasets.0.data_root=@nowhere', 'nowhere'),
    ('@adapter.safetensors --cfg-options model.backbone.adapter.type=LoRA', 'SoMA.*LoRA'),
]
TOOLS = {
    'merge_soma_weights.py': [
        ('--base @nowhere.pth --adapter @adapter.safetensors --out out.pth', r'nowhere\.pth'),
        ('--base @base.pth --adapter @nowhere.pth --out out.pth', r'nowhere\.pth'),
        ('--base @base.pth --adapter @base.pth --out out.pth', 'holds no adapter'),
        ('--base @base.pth --adapter @adapter.safetensors --out out.txt', r'out\.txt must end in'),
        (
            '--base @base.pth --adapter @adapter.safetensors --out @adapter.safetensors',
            'is read too',
        ),
        ('--base @base.pth --adapter @adapter.safetensors --out @folder.pth', 'is a directory'),
        ('--base @other_base.pth --adapter @adapter.safetensors --out out.pth', r'other_base\.pth'),
        (
            '--base @nan_base.pth --adapter @adapter.safetensors --out out.pth',
            r'nan_base\.pth.*qkv',
        ),
        ('--base @base.pth --adapter @nan_adapter.safetensors --out out.pth', 'nan_adapter'),
        (
            '--base @base.pth --adapter @adapter.safetensors --alpha 3 --out out.pth',
            r'leave alpha \(--alpha\) out',
        ),
        ('--base @base.pth --adapter @card_alpha_nan.safetensors --out out.pth', 'alpha'),
        ('--base @base.pth --adapter @card_targets.safetensors --out out.pth', 'card_targets'),
        ('--base @base.pth --adapter @adapter.safetensors --out @tiny.py/out.pth', r'tiny\.py'),
    ],
    'extract_soma_weights.py': [
        ('--checkpoint @nowhere.pth --out out.pth', r'nowhere\.pth'),
        ('--checkpoint @merged.pth --out out.pth', 'adapter'),
        ('--checkpoint @iter_2.pth --out out.zip', r'out\.zip must end in'),
        ('--checkpoint @iter_2.pth --out @iter_2.pth', 'is read too'),
        ('--checkpoint @nan.pth --out out.pth', r'nan\.pth'),
        ('--checkpoint @bomb.pth --out out.pth', '--trust'),
    ],
    'test_ensemble.py': [
        ('@tiny.py @merged.pth @nowhere.pth', r'nowhere\.pth'),
        ('@tiny.py @merged.pth @wide.pth', r'wide\.pth'),
    ],
    'model_reparameterization.py': [
        ('out.pth --checkpoints @merged.pth @nowhere.pth', r'nowhere\.pth'),
        ('out.pth --checkpoints @merged.pth @wide.pth', r'wide\.pth'),
        ('out.pth --checkpoints @merged.pth @nan.pth', r'nan\.pth'),
        ('out.pth --checkpoints @merged.pth @merged.pth --factors 1', 'factors'),
        ('out.pth --checkpoints @merged.pth @merged.pth --factors nan 1', 'factors'),
        ('@merged.pth --checkpoints @merged.pth @short.pth', 'is read too'),
    ],
    'export_adapter.py': [
        ('@nowhere.pth out --to peft', r'nowhere\.pth'),
        ('@base.pth out --to peft', 'adapter'),
        ('@adapter.safetensors @tiny.py --to peft', r'tiny\.py'),
        ('@card_targets.safetensors out --to peft', 'card_targets'),
        ('@adapter.safetensors out.pth --to timm --base @other_base.pth', r'other_base\.pth'),
        ('@adapter.safetensors out.txt --to timm --base @base.pth', r'out\.txt must end in'),
    ],
    'convert_models/convert_dinov2.py': [
        ('@nowhere.pth out.pth', r'nowhere\.pth'),
        ('@text.pth out.pth', r'text\.pth is damaged'),
        ('@other.safetensors out.pth', 'no DINOv2 weights'),
        ('@base.pth out.pth --height 33 --width 32', 'do not divide'),
        ('@base.pth out.pth --patch-size 0', 'patch_size must be'),
        ('@base.pth @base.pth', 'is read too'),
        ('@nan_base.pth out.pth', r'nan_base\.pth.*qkv'),
    ],
    'visualize.py': [
        ('@tiny.py @merged.pth @nowhere --out out', 'nowhere'),
        ('@tiny.py @merged.pth @nothing --out out', 'no image'),
        ('@tiny.py @merged.pth @text.png --out out', r'text\.png'),
        ('@tiny.py @merged.pth @mixed --out out', r'cut\.jpg|empty\.png'),
        ('@tiny.py @merged.pth @images --out @images', 'images'),
        ('@tiny.py @merged.pth @good.png --out @tiny.py', r'tiny\.py'),
        ('@tiny.py @merged.pth @good.png --out out --score-thr 7', 'score'),
        ('@tiny.py @merged.pth @good.png --out out --device toaster', 'toaster'),
        ('@tiny.py @nowhere.pth @good.png --out out', r'nowhere\.pth'),
    ],
    'predict.py': [
        ('@tiny.py @merged.pth @nowhere --out out', 'there is no file or folder'),
        ('@tiny.py @merged.pth @mixed --out out', r'2 of \d failed: .*(cut\.jpg|empty\.png)'),
        ('@tiny.py @merged.pth @good.png --out @tiny.py', r'tiny\.py'),
        ('@tiny.py @merged.pth @good.png --out out --device toaster', 'toaster'),
        ('@tiny.py @nowhere.pth @good.png --out out', r'nowhere\.pth'),
    ],
    'check_data.py': [
        ('@no_model.py --out out', 'no train, val or test data'),
        ('@tiny.py --nproc 0 --out out', 'nproc'),
        ('@tiny.py --out @tiny.py', r'tiny\.py'),
        *[
            (f'@tiny.py --out out --cfg-options train_dataloader.dataset.data_root=@data/{name}', w)
            for name, w in {
                'value': '77',
                'cut': '_labelTrainIds',
                'size': '40',
                'colour': 'colour',
                'empty': '0000',
                'unlabelled': '_labelTrainIds',
                'nowhere': 'nowhere',
            }.items()
        ],
    ],
    'convert_datasets/gta.py': [
        ('@nowhere', 'nowhere'),
        ('@raw/empty', 'labels'),
        ('@raw/gta --out out', r'00002\.png'),
        ('@raw/gta --out out --nproc 0', 'nproc'),
        ('@raw/gta --out @tiny.py', r'tiny\.py'),
        ('@raw/gta --out out --subset 0/3', '0/3'),
    ],
    'convert_datasets/diverse_weather.py': [('@raw/weather --out out', 'outside')],
    'misc/browse_dataset.py': [
        ('@tiny.py --number 0 --out out', 'number'),
        ('@tiny.py --out @tiny.py', r'tiny\.py'),
        ('@no_model.py --out out', 'no train_dataloader'),
    ],
    'misc/print_config.py': [
        ('@nowhere.py', r'nowhere\.py'),
        ('@tiny.py --out @tiny.py', 'is read too'),
        ('@tiny.py --out out.txt', r'out\.txt must end in'),
    ],
    'misc/pack_submission.py': [
        ('acdc @nothing @nothing out.zip', 'no test images'),
        ('acdc @nothing @nothing out.pdf', r'out\.pdf must end in'),
    ],
    'misc/make_fractals.py': [
        ('out --images 0', 'at least 1 image'),
        ('out --size 0', '32 pixels'),
        ('@tiny.py --images 1 --size 32', r'tiny\.py'),
    ],
    'analysis_tools/analyze_spectrum.py': [
        ('@nowhere.pth', r'nowhere\.pth'),
        ('@nan.pth', r'nan\.pth'),
        ('@merged.pth --out @tiny.py', r'folder .*tiny\.py'),
        ('@merged.pth --rank 0', 'rank'),
        ('@merged.pth --layers (', r'\('),
    ],
    'analysis_tools/benchmark.py': [
        ('@nowhere.py', r'nowhere\.py'),
        ('@tiny.py --iters 0', 'iterations'),
        ('@tiny.py @nowhere.pth --iters 1', r'nowhere\.pth'),
        ('@tiny.py --iters 1 --out @nothing', 'is a directory'),
        ('@tiny.py --iters 1 --out out.txt', r'must end in \.json'),
    ],
}
NUMBERS = itertools.count()
USAGE = [
    ('train.py', '', 'config'),
    ('train.py', '@tiny.py --cfg-options lr', 'is not key=value'),
    ('train.py', '@tiny.py --launcher ssh', 'invalid choice'),
    ('test.py', '@tiny.py', 'checkpoint'),
    ('test.py', '@tiny.py @a.pth --checkpoint @b.pth', 'one too many'),
    ('test.py', '@tiny.py @a.pth --severities 1', 'belong to --corruptions'),
    ('test.py', '@tiny.py @a.pth --corruptions fog --out o', 'leave out --out'),
    ('merge_soma_weights.py', '@base.pth', '--adapter|adapter'),
    ('merge_soma_weights.py', '@base.pth --adapter a.pth --out b.pth --alpha x', 'invalid float'),
    ('export_adapter.py', '@adapter.safetensors out --to word', 'invalid choice'),
    ('export_adapter.py', '@adapter.safetensors out.onnx --to onnx', 'needs --config'),
    ('visualize.py', '@tiny.py', 'checkpoint'),
    ('check_data.py', '@tiny.py --nproc many', 'invalid int'),
    ('convert_datasets/gta.py', '@raw/gta --seed 3', '--seed belongs to --subset'),
]
TABLE = [
    *[('train.py', row, words, 1) for row, words in TRAIN],
    *[('train.py', f'@tiny.py --cfg-options {row}', words, 1) for row, words in TRAIN_OPTIONS],
    *[('test.py', f'@tiny.py {row}', words, 1) for row, words in TEST],
    *[(tool, row, words, 1) for tool, rows in TOOLS.items() for row, words in rows],
    *[(*row, 2) for row in USAGE],
]


@pytest.fixture(scope='module')
def files(tmp_path_factory, make_tiny, public_file, street_data):
    folder = tmp_path_factory.mktemp('files')
    return make_all(folder, make_tiny(folder / 'work'), public_file, street_data)


def test_the_table_is_long():
    assert len({(tool, row) for tool, row, *_ in TABLE}) == len(TABLE) >= 120


@pytest.mark.parametrize(('tool', 'row', 'words', 'code'), TABLE, ids=lambda v: str(v)[:70])
def test_it_ends_with_one_line(files, run_here, capfd, tool, row, words, code):
    before = sorted(files.rglob('*'))
    arguments = [word.replace('@', f'{files}/') for word in shlex.split(row)]
    if tool in ('train.py', 'test.py') and code == 1:
        if '--cfg-options' not in arguments:
            arguments.append('--cfg-options')
        arguments.append(f'experiment_name={next(NUMBERS)}')  # mmengine's logs go by it
    with pytest.raises(SystemExit) as end:
        run_here(tool, *arguments)
    output = ''.join(capfd.readouterr())
    message = end.value.code if isinstance(end.value.code, str) else ''
    if message:
        assert message.startswith('error: ') and message.isprintable()
        assert code == 1
    else:
        assert end.value.code == code
    assert re.search(words, message or output), message or output[-2000:]
    assert 'Traceback' not in output and '\x1b' not in message
    assert sorted(files.rglob('*')) == before
