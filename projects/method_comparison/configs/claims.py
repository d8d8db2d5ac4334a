# What the papers say of SoMA and its peers, with DINOv2-S on CamVid: docs/notes/claims.md
_base_ = './study.py'

constant = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=400, by_epoch=False)]
variants = {
    'soma-principal': {'model.backbone.adapter.component': 'principal'},
    'soma-random': {'model.backbone.adapter.component': 'random'},
    'soma-release': {'model.backbone.adapter.component': 'release'},
    'soma-all-blocks': {'model.backbone.adapter.start_block': 0},
    'soma-late': {'model.backbone.adapter.start_block': 8},
    'soma-constant-decay': {'param_scheduler': constant},
    'soma-rank-4': {'model.backbone.adapter.rank': 4},
    'soma-rank-64': {'model.backbone.adapter.rank': 64},
    'lora-same-blocks': {'model.backbone.adapter.start_block': 4},
}
kept = ('frozen', 'full', 'lora', 'svf', 'soma', 'recyclelora', 'rein')
methods = {name: _base_.methods[name] for name in kept} | {
    name: dict(_base_.methods[name.split('-')[0]], options=options, note='')
    for name, options in variants.items()
}
methods['_delete_'] = True
settings = dict(day=_base_.settings.day, _delete_=True)
_SOMA = 'arXiv 2412.04077'
claims = [
    dict(claim=claim, method=method, against=against, source=source)
    for claim, method, against, source in (
        ('Minor components generalise better than principal ones', 'soma', 'soma-principal', _SOMA),
        ('Minor components generalise better than random ones', 'soma', 'soma-random', _SOMA),
        ('Frozen early blocks help', 'soma', 'soma-all-blocks', _SOMA),
        ('Annealed weight decay helps', 'soma', 'soma-constant-decay', _SOMA),
        ('SoMA generalises better than full fine-tuning', 'soma', 'full', _SOMA),
        ('SoMA generalises better than LoRA', 'soma', 'lora', _SOMA),
        ('SoMA generalises better than Rein', 'soma', 'rein', _SOMA),
        (
            'A frozen backbone generalises better than a tuned one',
            'frozen',
            'full',
            'a belief',
        ),
        ('Rein generalises better than full fine-tuning', 'rein', 'full', 'arXiv 2312.04265'),
        ('RecycleLoRA generalises better than SoMA', 'recyclelora', 'soma', 'arXiv 2603.28142'),
        ('The true split is better than that of the public code', 'soma', 'soma-release', 'here'),
        ('Fewer blocks are as good for SoMA: from the ninth', 'soma-late', 'soma', 'here'),
        ('SoMA beats LoRA in the same blocks', 'soma', 'lora-same-blocks', 'here'),
        ('Rank 16 is better than rank 4', 'soma', 'soma-rank-4', 'here'),
        ('Rank 64 is better than rank 16', 'soma-rank-64', 'soma', 'here'),
        (
            'Singular values alone (SVF) beat a frozen backbone',
            'svf',
            'frozen',
            'arXiv 2206.06122',
        ),
    )
]
baselines = ['soma']
introduction = """\
# Do the claims hold here?

What the papers say of SoMA and its peers, as sentences that can be tested: DINOv2-S with SemFPN,
trained on CamVid by day, tested at dusk and on another day. `make claims` made this page with all
of its numbers{spread}. Data, training, learning rates and what it does not tell are those of
[the study](study.md); a variant of SoMA or LoRA has the learning rate of its method.
"""
