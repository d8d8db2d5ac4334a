# What the papers say of SoMA and its peers, with DINOv2-S on CamVid: docs/notes/claims.md
_base_ = './study.py'

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
        ('SoMA generalises better than a frozen backbone', 'soma', 'frozen', _SOMA),
        ('Rein generalises better than full fine-tuning', 'rein', 'full', 'arXiv 2312.04265'),
        ('Full fine-tuning is worse than a frozen backbone', 'frozen', 'full', 'a belief'),
        ('RecycleLoRA generalises better than SoMA', 'recyclelora', 'soma', 'arXiv 2603.28142'),
        ('SVF generalises better than a frozen backbone', 'svf', 'frozen', 'arXiv 2206.06122'),
        ('The true split is better than that of the public code', 'soma', 'soma-release', 'here'),
        ('The last four blocks are enough, and better', 'soma-last-blocks', 'soma', 'here'),
        ('SoMA beats LoRA of its blocks, biases and decay', 'soma', 'lora-as-soma', 'here'),
        ('Rank 16 is better than rank 4', 'soma', 'soma-rank-4', 'here'),
        ('Rank 64 is better than rank 16', 'soma-rank-64', 'soma', 'here'),
    )
]
methods = {
    name: _base_.methods.get(name) or _base_.variants[name]
    for claim in claims
    for name in (claim['against'], claim['method'])
}
methods['_delete_'] = True
settings = dict(day=_base_.settings.day, _delete_=True)
baselines = ['soma']
introduction = """\
# Do the claims hold here?

What the papers say of SoMA and its peers, as sentences that can be tested: DINOv2-S, a linear head,
trained on CamVid by day, tested at dusk and on another day. `make claims` made this page with all
of its numbers{spread}. Data, training, the choice of learning rates (also of each variant) and what
it does not tell are those of [the study](study.md). Pretrained weights: `{pretrained}`.
"""
