# Learning rates for the study: each method with three, judged by held-out images of the source
_base_ = './small.py'

# Of the backbone, relative to the head's 1e-3; of the frozen one the head's own
middle = dict(full=0.03, last4=0.03, bitfit=3.0, svf=3.0)
frozen = dict(config=_base_.configs.format('frozen'))
methods = {
    f'frozen@{factor:g}': dict(frozen, options={'optim_wrapper.optimizer.lr': factor * 1e-3})
    for factor in (0.3, 1.0, 3.0)
}
methods |= {
    f'{name}@{factor * middle.get(name, 0.5):g}': dict(
        config=_base_.configs.format(name),
        options={_base_.lr_mult: factor * middle.get(name, 0.5)},
    )
    for name in (
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
    for factor in (0.3, 1.0, 3.0)
}
settings = dict(day=dict(source='day.py', target='held_out.py', title='CamVid by day'))
seeds = [10]
introduction = '# Learning rates\n\n{iterations} iterations{spread}.'
