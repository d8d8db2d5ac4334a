# MiLoRA (arXiv 2406.09044), the minor components, a linear head: CamVid, minutes on a CPU.
_base_ = ['../_base_/models/dinov2-S_linear_364x476.py', '../_base_/camvid_364x476_cpu.py']
model = dict(backbone=dict(adapter=dict(type='MiLoRA', rank=16)))
