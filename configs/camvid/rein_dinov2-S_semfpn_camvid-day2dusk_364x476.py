# Rein (arXiv 2312.04265): CamVid, minutes on a CPU.
_base_ = ['../_base_/models/dinov2-S_semfpn_364x476.py', '../_base_/camvid_364x476_cpu.py']
model = dict(backbone=dict(adapter=dict(type='Rein', rank=16)))
