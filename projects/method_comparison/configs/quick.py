# How a method of your own stands: compare.py quick.py --add NAME=CONFIG
_base_ = './study.py'

methods = {name: _base_.methods[name] for name in ('frozen', 'lora', 'soma')}
methods['_delete_'] = True
chosen = ['day']
introduction = """\
# On CamVid

DINOv2-S, a linear head, trained on CamVid by day, tested at dusk and on another day, {iterations}
iterations{spread}. Data and training are those of docs/notes/study.md.
"""
