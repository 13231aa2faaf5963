"""Lines that jobs write which then pass, full of words of failures: no rule takes them for a cause. Made up by us."""

from typing import Final

ORDINARY: Final = """\
step 100 | loss 0.3121 | grad_norm 0.91 | 0 errors | error_rate=0.013 | mem 61.2 GiB
eval: word error rate 0.08, top-1 error: 21.4, top-5 error: 5.1
no out of memory so far, peak 71.3 GiB of 80 GiB
OOM killer disabled: vm.overcommit_memory=1
found 0 NaN and 0 Inf in 148 gradients
nan_to_num applied to 3 columns; isnan checks passed
gradient clipping at 1.0, skip_nan_batches=True
loss scale: 65536.0
NCCL INFO NET/IB : Using [0]mlx5_0:1/IB [1]mlx5_1:1/IB [RO]; OOB eth0:10.0.0.4<0>
NCCL INFO NET/OFI Selected Provider is efa (found 4 nics)
NCCL INFO NCCL_IB_TIMEOUT set by environment to 22.
NCCL INFO NCCL_ASYNC_ERROR_HANDLING set by environment to 1
NCCL INFO Channel 03/0 : 5[5] -> 4[4] via P2P/CUMEM
NCCL INFO comm 0x55d1 rank 3 nranks 8 cudaDev 3 busId 9d000 - Init COMPLETE
NCCL version 2.21.5+cuda12.4
UserWarning: Torch was not compiled with flash attention.
FutureWarning: `torch.cuda.amp.autocast(args...)` is deprecated.
UserWarning: Detected call of `lr_scheduler.step()` before `optimizer.step()`.
DeprecationWarning: invalid escape sequence \\d
Could not load dynamic library 'libnvinfer.so.7'; dlerror: ignored. TF-TRT Warning: Cannot dlopen some libraries.
Ignore above cudart dlerror if you do not have a GPU set up on your machine.
This binary is optimized with oneDNN to use available CPU instructions; to enable others, rebuild with other flags.
successful NUMA node read from SysFS had negative value (-1), but there must be at least one NUMA node
Some weights of BertModel were not initialized from the checkpoint and are newly initialized: ['pooler.weight']
saved checkpoint to /out/checkpoint-500 (2.1 GB in 14 s)
Loading checkpoint shards: 100%|##########| 4/4 [00:09<00:00, 2.3s/it]
resuming from checkpoint step_4000.pt; all keys matched
early stopping: no improvement for 5 epochs
Restarting worker 3 after 1,000 requests to bound its memory
connection pool: 8 connections, 0 timed out, 0 refused
retrying in 2 s (attempt 1 of 5)
killed: 0, failed: 0, skipped: 12, passed: 240
tests/test_oom.py::test_out_of_memory_is_reported PASSED
tests/test_errors.py::test_connection_refused PASSED
assertions: on; sanitizer: off; core dumps: unlimited
ulimit -n 1048576
max user processes (-u) 2063312
CUDA_VISIBLE_DEVICES=0,1,2,3 CUDA_LAUNCH_BLOCKING unset
GPU 0: NVIDIA H100, driver 550.54.15, CUDA 12.4, ECC enabled, temperature 41 C, fan ok
Volatile Uncorr. ECC : 0
Remapping Failure Occurred : No
HW Thermal Slowdown : Not Active
SW Power Cap : Active
nvidia-smi topo: NV18 NV18 SYS
Xid history: none
slurm: job 8812 started on gpu-[01-04], time limit 2-00:00:00
SLURM_JOB_ID=8812 SLURM_REQUEUE=1 preemption allowed
JobState=COMPLETED ExitCode=0:0 DerivedExitCode=0:0
State: Terminated, Reason: Completed, Exit Code: 0
"OOMKilled": false
MemoryPressure   False   KubeletHasSufficientMemory
DiskPressure     False   KubeletHasNoDiskPressure
Normal  Scheduled  Successfully assigned ml/train-0 to gpu-7
Normal  Pulled     Successfully pulled image "reg/train:7" in 31s
pcieport 0000:80:01.0: AER: Corrected error received: 0000:81:00.0
PCIe Bus Error: severity=Corrected, type=Physical Layer
EXT4-fs (nvme0n1p1): mounted filesystem with ordered data mode
mlx5_core 0000:86:00.0: Port module event: module 0, Cable plugged
mlx5_core 0000:5e:00.1 ens5f1: Link up
NVRM: loading NVIDIA UNIX x86_64 Kernel Module  550.54.15
systemd[1]: Started Session 812 of User train.
INFO: shuffling with a buffer of 10000; dropping the last incomplete batch
tokenizer: 3 unknown tokens, 0 truncated records
dataset has 1281167 images, 0 corrupted, 3 skipped
WARNING: 17 files were not found in the cache and are fetched
validation failed to improve: best is still 0.312
try: import apex except ImportError: apex = None
raise ValueError(f"unknown mode {mode}")
except RuntimeError as error:  # out of memory is handled above
health check ok: 8 GPUs, 8 NVLink links up, 0 errors, no hang detected
memory usage at 61%
watchdog: timeout set to 1800 s
heartbeat ok from 16 workers
job finished with exit code 0
Training completed successfully in 3:12:44.
process 4 exited with code 0
"""
