# The methods and variants, each with its learning rate
_base_ = './methods.py'

# Of what trains in the backbone, relative to the head's: chosen by tuning.py
rates = dict.fromkeys({**_base_.methods, **_base_.variants}, 0.015) | dict(
    dict.fromkeys(('lora', 'dora', 'milora', 'lora-null', 'soma'), 0.045),
    full=0.001,
    last4=0.001,
    bitfit=0.01111,
    svf=0.3,
    rein=0.135,
    osf=0.005,
    recyclelora=0.135,
)
_tuned = {
    name: dict(method, options={**method.get('options', {}), _base_.lr_mult: rates[name]})
    for name, method in {**_base_.methods, **_base_.variants}.items()
    if name in rates
}
methods = {name: _tuned[name] for name in _base_.methods if name in _tuned}
variants = {name: _tuned[name] for name in _base_.variants if name in _tuned}
