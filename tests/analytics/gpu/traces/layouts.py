"""Small traces in the layouts of the published ones, made by hand."""

import json
from pathlib import Path
from typing import Any


def philly_run(start: str | None, end: str | None, **gpus: int) -> dict[str, Any]:
    """An attempt that held so many GPUs of each machine."""
    detail = [{"ip": name, "gpus": [f"gpu{number}" for number in range(count)]} for name, count in gpus.items()]
    return {"start_time": start, "end_time": end, "detail": detail}


def philly_job(job: str, *runs: dict[str, Any], status: str = "Pass", submitted: str | None = "2017-10-07 01:11:39"):
    return {
        "status": status,
        "vc": "ee9e8c",
        "jobid": job,
        "attempts": list(runs),
        "submitted_time": submitted,
        "user": "ce2f4c",
    }


def philly_log(path: Path, *jobs: dict[str, Any]) -> Path:
    path.write_text(json.dumps(list(jobs), indent=4), encoding="utf-8")
    return path


ACME = "job_id,user,node_num,gpu_num,cpu_num,type,state,submit_time,start_time,end_time,duration,queue,gpu_time"
KALOS = (
    "job_id,user,node_num,gpu_num,cpu_num,mem_per_pod_GB,shared_mem_per_pod,type,state,submit_time,start_time,end_time,"
    "fail_time,stop_time,duration,queue,gpu_time"
)


def table(path: Path, *rows: str) -> Path:
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def pai(folder: Path, *, instances: bool = True, sensors: bool = False) -> Path:
    """Three jobs: half a GPU on one machine, 2 workers with a server beside them, one that never ran."""
    table(
        folder / "pai_job_table.csv",
        "j1,i1,u1,Terminated,1000.0,1700.0",
        "j2,i2,u2,Failed,2000.0,2600.0",
        "j3,i3,u1,Waiting,3000.0,",
    )
    table(
        folder / "pai_task_table.csv",
        "j1,tensorflow,1.0,Terminated,1040.0,1700.0,600.0,29.3,50.0,MISC",
        "j2,worker,2.0,Failed,2010.0,2600.0,400.0,10.0,100.0,V100",
        "j2,ps,1.0,Terminated,2005.0,2600.0,200.0,10.0,,",
        "j3,worker,4.0,Waiting,0,0,400.0,10.0,100.0,T4",
    )
    if instances:
        table(
            folder / "pai_instance_table.csv",
            "j1,tensorflow,n1,w1,i1,Terminated,1100.0,1700.0,m1",
            "j2,ps,n2,w2,i2,Terminated,2100.0,2600.0,m3",
            "j2,worker,n3,w3,i2,Failed,2100.0,2600.0,m1",
            "j2,worker,n4,w4,i2,Failed,2100.0,2350.0,m2",
            "j2,worker,n4,w5,i2,Failed,2350.0,2600.0,m4",
        )
    if sensors:
        table(
            folder / "pai_sensor_table.csv",
            "j1,tensorflow,w1,i1,m1,/dev/nvidia0,140.1,16.0,1.4,2.3,1.2,2.3,1.0,1.0,1.0,1.0",
            "j2,ps,w2,i2,m3,,140.1,,1.4,2.3,,,1.0,1.0,1.0,1.0",
            "j2,worker,w3,i2,m1,/dev/nvidia1,140.1,90.0,1.4,2.3,1.2,2.3,1.0,1.0,1.0,1.0",
            "j2,worker,w4,i2,m2,/dev/nvidia0,140.1,30.0,1.4,2.3,1.2,2.3,1.0,1.0,1.0,1.0",
        )
    return folder
