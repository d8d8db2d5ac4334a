# Learning rates for the study: each method with three, judged by held-out images of the source
_base_ = './small.py'

# Of the backbone, relative to the head's 1e-2; of the frozen one the head's own
frozen = dict(config=_base_.configs.format('frozen'))
methods = {
    f'frozen@{lr:g}': dict(frozen, options={'optim_wrapper.optimizer.lr': lr})
    for lr in (3e-3, 1e-2, 3e-2)
}
weights = dict.fromkeys(('full', 'last4'), 0.003)  # of all weights, or of few numbers a layer
few = dict.fromkeys(('bitfit', 'svf'), 0.3)
adapters = dict.fromkeys(
    (
        'soma',
        'lora',
        'recyclelora',
        'rein',
        'dora',
        'pissa',
        'milora',
        'mica',
        'olora',
        'corda',
        'lora-null',
        'osf',
    ),
    0.05,
)
methods |= {
    f'{name}@{round(factor * middle, 4):g}': dict(
        config=_base_.configs.format(name), options={_base_.lr_mult: factor * middle}
    )
    for name, middle in {**weights, **few, **adapters}.items()
    for factor in (1 / 3, 1, 3)
}
settings = dict(day=dict(source='day.py', target='held_out.py', title='CamVid by day'))
seeds = [10]
introduction = """\
# Learning rates

The mIoU on 34 held-out images of the source by which the study chooses each method's learning rate:
`method@multiple` of the head's, `frozen@rate` of the head itself, {iterations} iterations{spread}.
"""
