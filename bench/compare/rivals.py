"""What the scripts beside this one share: the clock, and results as `mamba-cuda bench --json` writes them (BenchReport.cs).

A run is timed by device events around it, with work before it in the stream so that the host is ahead; runs take sets of operands in turn,
as many as pass the card's second-level cache twice over. Everything is said in the units of MambaCuda's own rows.
"""

import argparse
import datetime
import json
import os
import platform
import re
import statistics
import sys

USUAL_MS = 400
WARM_UP_MS = 100
LEAST_RUNS, MOST_RUNS, BATCH_RUNS = 15, 300, 48

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def import_torch():
    """PyTorch with a CUDA device, or the end of the script with what to do."""
    try:
        import torch
    except ImportError:
        sys.exit("PyTorch is not installed in this Python: pip install torch, or run this where it is.")
    if not torch.cuda.is_available():
        sys.exit("PyTorch sees no CUDA device; these scripts measure a card.")
    return torch


def arguments(description, suite):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="bf16", help="the type of activations (bf16)")
    parser.add_argument("--only", metavar="WORDS", default="", help="only rows with each of these words: operation, model, shape, variant")
    parser.add_argument("--runs", type=int, default=0, metavar="N", help="how many runs; 0 for as many as take half a second, at least 15")
    parser.add_argument("--out", metavar="DIR", help=f"write the results to compare-{suite}.json in this folder")
    return parser


class Session:
    """Rows, measured one after the other."""

    def __init__(self, options, suite):
        self.torch = import_torch()
        self.options = options
        self.suite = suite
        self.dtype = getattr(self.torch, DTYPES[options.dtype])
        self.rows = []
        self.filler = self.torch.empty(256 << 20, dtype=self.torch.uint8, device="cuda")
        properties = self.torch.cuda.get_device_properties(0)
        self.cache_bytes = getattr(properties, "L2_cache_size", 64 << 20)

    def random(self, *shape, dtype=None, deviation=1.0, mean=0.0):
        return (self.torch.randn(*shape, device="cuda") * deviation + mean).to(dtype or self.dtype)

    def measure(self, operation, shape, variant, make, *, bytes_moved, operations, elements, model=None, copies=None):
        """Times what make(copy) returns: a function without arguments, on operands of its own."""
        shape_text = "x".join(str(size) for size in shape)
        words = f"{operation} {model or ''} {shape_text} {variant}".split()
        if not all(word in words for word in self.options.only.split()):
            return
        row = {
            "operation": operation,
            "shape": shape_text,
            "model": model,
            "type": self.options.dtype,
            "variant": variant,
            "launches": 1,
            "command": f"python3 bench/compare/{os.path.basename(sys.argv[0])} --dtype {self.options.dtype} "
            f"--only '{' '.join(words)}'",
        }
        runs = []
        try:
            copies = copies or int(min(max(2 * self.cache_bytes // max(bytes_moved, 1) + 1, 1), 256))
            runs = [make(copy) for copy in range(copies)]
            times = self._times(runs)
        except Exception as exception:  # whatever a library refuses is told in its row
            row["problem"] = " ".join(f"{type(exception).__name__}: {exception}".split())[:300]
        else:
            median = statistics.median(times)
            row.update(
                clock="events",
                median_ms=median,
                min_ms=min(times),
                max_ms=max(times),
                runs=len(times),
                bytes=int(bytes_moved),
                operations=float(operations),
                elements=int(elements),
                gigabytes_per_second=bytes_moved / median / 1e6,
                gigaelements_per_second=elements / median / 1e6,
                teraflop_per_second=operations / median / 1e9,
            )
        finally:
            runs.clear()
            self.torch.cuda.empty_cache()
        self.rows.append({key: value for key, value in row.items() if value is not None})
        print(line_of(row), flush=True)

    def _times(self, runs):
        done = 0
        longest, spent = 0.0, 0.0
        self._batch(runs, done, 1)
        done += 1
        while spent < WARM_UP_MS:
            longest = self._batch(runs, done, 1)[0]
            spent += max(longest, 1.0)
            done += 1
        wanted = self.options.runs or int(min(max(USUAL_MS / max(longest, 1e-6), LEAST_RUNS), MOST_RUNS))
        times = []
        while len(times) < wanted:
            count = min(BATCH_RUNS, wanted - len(times))
            times += self._batch(runs, done, count)
            done += count
        return times

    def _batch(self, runs, first, count):
        cuda = self.torch.cuda
        starts = [cuda.Event(enable_timing=True) for _ in range(count)]
        ends = [cuda.Event(enable_timing=True) for _ in range(count)]
        # While the device is busy with this, the host puts all runs into the stream; so none waits for its launch. PyTorch takes longer
        # to launch than a kernel of MambaCuda does: more of it for many short runs.
        for _ in range(8 + 2 * count):
            self.filler.zero_()
        for i in range(count):
            starts[i].record()
            runs[(first + i) % len(runs)]()
            ends[i].record()
        cuda.synchronize()
        return [start.elapsed_time(end) for start, end in zip(starts, ends)]

    def finish(self, versions):
        """Writes the report where --out says so. `versions` are of what was measured: {name: version}."""
        torch = self.torch
        report = {
            "command": " ".join(["python3", *sys.argv]),
            "commit": ", ".join(f"{name} {version}" for name, version in versions.items()),
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat().replace("+00:00", "Z"),
            "machine": {
                "device": f"{torch.cuda.get_device_name(0)}, {torch.cuda.get_device_properties(0).multi_processor_count} multiprocessors",
                "driver": driver_release(),
                "cuda": torch.version.cuda,
                "host": f"{platform.platform()}, {os.cpu_count()} processors",
                "runtime": f"Python {platform.python_version()}, PyTorch {torch.__version__}",
            },
            "rows": self.rows,
        }
        report["machine"] = {key: value for key, value in report["machine"].items() if value is not None}
        if self.options.out:
            os.makedirs(self.options.out, exist_ok=True)
            path = os.path.join(self.options.out, f"compare-{self.suite}.json")
            with open(path, "w", encoding="utf-8") as file:
                json.dump(report, file, indent=2)
                file.write("\n")
            print(f"written: {path}")


def driver_release():
    try:
        with open("/proc/driver/nvidia/version", encoding="ascii", errors="replace") as file:
            found = re.search(r"\s(\d+\.\d+(?:\.\d+)*)\s", file.readline())
            return found.group(1) if found else None
    except OSError:
        return None


def line_of(row):
    title = " ".join(str(part) for part in (row["operation"], row["model"], row["shape"].replace("x", " x "), row["variant"]) if part)
    if "problem" in row:
        return f"{title} {row['type']}: {row['problem']}"
    rate = f"{row['teraflop_per_second']:.1f} TFLOP/s, " if row["operations"] else ""
    return (
        f"{title} {row['type']}: median {row['median_ms']:.4g} ms, min {row['min_ms']:.4g}, max {row['max_ms']:.4g}, {row['runs']} runs; "
        f"{rate}{row['gigabytes_per_second']:,.0f} GB/s, {row['gigaelements_per_second']:.1f} Gelem/s"
    )
