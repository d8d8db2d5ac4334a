# LoRA (arXiv 2106.09685) in EoMT: CamVid, minutes on a CPU.
_base_ = ['../_base_/models/dinov2-S_eomt_364x476.py', '../_base_/camvid_364x476_eomt_cpu.py']
model = dict(backbone=dict(adapter=dict(type='LoRA', rank=16)))
