"""What the kernel says about processes, cores and the machine."""

import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


class CannotRun(Exception):
    """Something the benchmark needs is missing, or a server did not do its part."""


def output(*command, limit=60):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit)
    if done.returncode != 0:
        raise CannotRun(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.returncode}")
    return done.stdout.strip()


def cpu_seconds(pid, children=False):
    """utime + stime of every thread the process has or had (proc(5), fields 14 and 15); with `children` also of
    the children that have ended (16 and 17)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15 if children else 13])) / TICKS


def memory_mib(pid):
    """Resident memory now and at its highest."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return [int(status[key].split()[0]) / 1024 for key in ("VmRSS", "VmHWM")]


def bytes_to_disk(pid):
    """Bytes the process has caused to be written to storage (proc(5), `write_bytes`)."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["write_bytes"])


def core_busy_seconds(core):
    """Time this core was not idle, whoever used it, stolen time included."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *numbers = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = map(int, numbers)
            return (user + nice + system + irq + softirq + steal) / TICKS
    raise CannotRun(f"there is no core {core}")


def fdatasync_ms(directory):
    """What one durable append costs on the disk the data directory is on."""
    times = []
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        for _ in range(100):
            file.write(bytes(4096))
            file.flush()
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - begun) * 1000)
    return {"p50": statistics.median(times), "p90": statistics.quantiles(times, n=10)[-1]}


def machine(work):
    cpus = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")]
    return {
        "cpu": cpus[0] if cpus else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "wrk": subprocess.run(["wrk", "--version"], capture_output=True, text=True).stdout.split("Copy")[0].strip(),
        "load_average_before": os.getloadavg()[0],
        "data_on": output("findmnt", "-no", "FSTYPE", "-T", work),
        "fdatasync_ms": fdatasync_ms(work),
    }
