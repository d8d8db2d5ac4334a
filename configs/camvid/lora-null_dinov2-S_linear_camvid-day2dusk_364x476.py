# LoRA-Null (arXiv 2503.02659), null space of the inputs, a linear head: CamVid, minutes on a CPU.
_base_ = ['../_base_/models/dinov2-S_linear_364x476.py', '../_base_/camvid_364x476_cpu.py']
model = dict(backbone=dict(adapter=dict(type='LoRANull', rank=16)))
