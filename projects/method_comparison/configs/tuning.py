# Learning rates: each method with three, judged by a held-out part of the source
_base_ = './methods.py'

# Of the backbone, relative to the head's 3e-2; of the frozen one the head's own
_MIDDLE = dict(full=0.001, last4=0.001, bitfit=0.1, svf=0.1)
# Beyond a third, one and three times that, where the best was at the end
_BEYOND = dict.fromkeys(('lora', 'soma', 'svf', 'dora', 'milora', 'lora-null'), (9,)) | dict(
    last4=[1 / 9], bitfit=[1 / 9, 1 / 27], osf=[1 / 9], rein=[9, 27], recyclelora=[9, 27]
)
frozen = _base_.methods.frozen
tuned = {name: method for name, method in _base_.methods.items() if name != 'frozen'}
tuned |= _base_.variants
methods = {
    f'frozen@{lr:g}': dict(frozen, options={'optim_wrapper.optimizer.lr': lr})
    for lr in (1e-2, 3e-2, 1e-1)
} | {
    f'{name}@{round(factor * _MIDDLE.get(name, 0.015), 5):g}': dict(
        method,
        options={**method.get('options', {}), _base_.lr_mult: factor * _MIDDLE.get(name, 0.015)},
    )
    for name, method in tuned.items()
    for factor in (1 / 3, 1, 3, *_BEYOND.get(name, ()))
}
methods['_delete_'] = True
settings = dict(day=dict(source='day.py', target='rates.py', title='CamVid by day'))
seeds = [10]
introduction = """\
# Learning rates

The mIoU on 41 held-out images of the source by which the study chooses each method's learning rate:
`method@multiple` of the head's, `frozen@rate` of the head itself, {iterations} iterations{spread}.
"""
