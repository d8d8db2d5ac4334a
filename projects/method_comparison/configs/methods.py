# What the recipes on CamVid share: methods, and how they are made small
_FILE = '../../../configs/camvid/{}_dinov2-S_linear_camvid-day2dusk_364x476.py'
_ADAPTER = 'model.backbone.adapter'
lr_mult = 'optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult'

# Images of 336 x 252, crops of 168: minutes a training on a core
options = {
    'model.backbone.img_size': (252, 336),
    'model.data_preprocessor.size': (168, 168),
    'train_dataloader.dataset.pipeline.2.scale': (336, 252),
    'train_dataloader.dataset.pipeline.3.crop_size': (168, 168),
    'optim_wrapper.optimizer.lr': 3e-2,
}
iterations = 200
methods = {
    name: dict(config=_FILE.format(name))
    for name in (
        'frozen',
        'last4',
        'full',
        'bitfit',
        'lora',
        'dora',
        'pissa',
        'milora',
        'mica',
        'olora',
        'corda',
        'lora-null',
        'osf',
        'svf',
        'soma',
        'recyclelora',
        'rein',
    )
}
_soma, _lora = (dict(config=_FILE.format(name)) for name in ('soma', 'lora'))
_schedule = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=40, by_epoch=False),
    dict(type='PolyLR', power=0.9, eta_min=0, begin=40, end=400, by_epoch=False),
]
_annealed = dict(type='CosineAnnealingWeightDecay', eta_min=1e-5, begin=0, end=400, by_epoch=False)
variants = {
    'soma-principal': dict(_soma, options={f'{_ADAPTER}.component': 'principal'}),
    'soma-random': dict(_soma, options={f'{_ADAPTER}.component': 'random'}),
    'soma-release': dict(_soma, options={f'{_ADAPTER}.component': 'release'}),
    'soma-all-blocks': dict(_soma, options={f'{_ADAPTER}.start_block': 0}),
    'soma-last-blocks': dict(_soma, options={f'{_ADAPTER}.start_block': 8}),
    'soma-constant-decay': dict(_soma, options={'param_scheduler': _schedule}),
    'soma-rank-4': dict(_soma, options={f'{_ADAPTER}.rank': 4}),
    'soma-rank-64': dict(_soma, options={f'{_ADAPTER}.rank': 64}),
    # SoMA's blocks, biases and decay
    'lora-as-soma': dict(
        _lora,
        options={
            f'{_ADAPTER}.start_block': 4,
            f'{_ADAPTER}.train_bias': True,
            'param_scheduler': [*_schedule, _annealed],
        },
    ),
}
