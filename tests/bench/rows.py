# SPDX-License-Identifier: Apache-2.0
"""The rows of the table: each measures one aim of the first stage and yields Row objects."""

import os
import re
import shutil
import subprocess
import time

from benchlib import BUILD, Bench, Row, fio, pairs, run

MIB, GIB = 2**20, 2**30


def percentile_us(job, which):
    return job["write"]["clat_ns"]["percentile"][which] / 1000


def latency(options):
    """The machine's own writes at fixed rates, capture and replication on against off."""
    rates = [("4 KiB 5,000/s", ["--bs=4k", "--rw=randwrite", "--iodepth=4", "--rate_iops=5000"]),
             ("64 KiB 100 MB/s", ["--bs=64k", "--rw=randwrite", "--iodepth=4", "--rate=100m"]),
             ("1 MiB 200 MB/s", ["--bs=1m", "--rw=write", "--iodepth=2", "--rate=200m"])]
    for label, job in rates:
        p50, p99 = Row("latency p50, " + label, 1.1, at_least=False), Row("latency p99, " + label, 1.25, at_least=False)
        with Bench() as bench:
            device, _ = bench.loop("disk", 512 * MIB)
            bench.start_target(bench.ram + "/store", cpu=1)

            def measure(on):
                if on:
                    bench.start_agent([device], cpu=0)
                    bench.wait_protected()
                result = fio(device, options.seconds, job, cpu=0)
                if on:
                    bench.stop_agent(detach=True)
                return percentile_us(result, "50.000000"), percentile_us(result, "99.000000")

            fio(device, 2, job)
            for on, off in pairs(options.pairs, lambda: measure(True), lambda: measure(False)):
                p50.add(on[0] / off[0])
                p99.add(on[1] / off[1])
            p50.note("last pair %.0f µs on, %.0f µs off" % (on[0], off[0]))
            p99.note("last pair %.0f µs on, %.0f µs off" % (on[1], off[1]))
        yield p50
        yield p99


UNTHROTTLED = [("4 KiB random, depth 1", ["--bs=4k", "--rw=randwrite", "--iodepth=1"]),
               ("4 KiB random, depth 32", ["--bs=4k", "--rw=randwrite", "--iodepth=32"]),
               ("64 KiB random, depth 8", ["--bs=64k", "--rw=randwrite", "--iodepth=8"]),
               ("1 MiB sequential", ["--bs=1m", "--rw=write", "--iodepth=4"])]


def capture_only(options, in_ram):
    """Unthrottled throughput with records drained and discarded, against none."""
    for label, job in UNTHROTTLED:
        aim = 0.90 if not in_ram else (0.75 if label == "4 KiB random, depth 32" else None)
        row = Row("capture only, %s, %s" % ("RAM-backed loop" if in_ram else "loop over a file", label), aim)
        with Bench() as bench:
            device, _ = bench.loop("disk", GIB, where=bench.ram if in_ram else None, direct=not in_ram)
            fio(device, 2, job)

            def off():
                return fio(device, options.seconds, job)["write"]["bw_bytes"]

            def on():
                with bench.draining([device]):
                    return fio(device, options.seconds, job)["write"]["bw_bytes"]

            for a, b in pairs(options.pairs, on, off):
                row.add(a / b)
            row.note("last pair %.0f MB/s on, %.0f MB/s off" % (a / 1e6, b / 1e6))
        yield row


def capture_file(options):
    yield from capture_only(options, in_ram=False)


def capture_ram(options):
    yield from capture_only(options, in_ram=True)


def churn_holds(bench, device, job, seconds):
    """Whether the machine stays in DATA mode under this load, and the status at its end."""
    before = bench.status()["counters"]["dirty_writes"]
    fio(device, seconds, job)
    status = bench.status()
    return status["mode"] == "DATA" and status["counters"]["dirty_writes"] == before, status


def churn(options):
    """The highest rate, of a rising row, that the machine sustains without leaving DATA mode."""
    kinds = [("64 KiB, MB/s", 200, [100, 150, 200, 250, 300, 400, 500], lambda r: ["--bs=64k", "--rw=randwrite", "--iodepth=8", "--rate=%dk" % (r * 1000)]),
             ("4 KiB, thousand writes/s", 25, [10, 15, 20, 25, 30, 40, 50], lambda r: ["--bs=4k", "--rw=randwrite", "--iodepth=16", "--rate_iops=%d" % (r * 1000)])]
    for label, aim, rates, job in kinds:
        row = Row("sustained churn, " + label, aim, unit="")
        for _ in range(options.repeats):
            best = 0
            with Bench() as bench:
                device, _ = bench.loop("disk", GIB)
                bench.start_target(bench.dir + "/store")
                bench.start_agent([device])
                bench.wait_protected()
                for rate in rates:
                    held, status = churn_holds(bench, device, job(rate), options.seconds * 3)
                    if not held:
                        break
                    best = rate
                    row.note("%d: lag p99 %s ms, ring fill at most %.0f %%" % (rate, status["lag_ms"]["p99"],
                             100 * status["ring"]["fill_max_bytes"] / status["ring"]["size_bytes"]))
            row.add(max(best, 0.001))
        yield row


def lag(options):
    """Write to durable at the target, at 100 MB/s, from the product's own histogram."""
    p50, p99 = Row("lag p50 at 100 MB/s, ms", 50, at_least=False, unit=" ms"), Row("lag p99 at 100 MB/s, ms", 400, at_least=False, unit=" ms")
    for _ in range(options.repeats):
        with Bench() as bench:
            device, _ = bench.loop("disk", GIB)
            bench.start_target(bench.dir + "/store")
            bench.start_agent([device])
            bench.wait_protected()
            fio(device, options.seconds * 4, ["--bs=64k", "--rw=randwrite", "--iodepth=8", "--rate=100000k"])
            status = bench.status()
            p50.add(max(status["lag_ms"]["p50"], 0.1))
            p99.add(max(status["lag_ms"]["p99"], 0.1))
            p99.note("ring fill at most %.1f MiB, longest stall survived %s ms" % (status["ring"]["fill_max_bytes"] / MIB, status["ring"]["longest_stall_ms"]))
            p50.note("agent: %.1f MiB resident, %.2f s of processor for %.2f GB captured" % (
                status["memory_bytes"] / MIB, status["cpu_ms"] / 1000, status["counters"]["captured_bytes"] / 1e9))
    yield p50
    yield p99


def fill_half(path, size):
    """Half of it content of which half compresses, in runs of 1 MiB."""
    run("fio", "--name=fill", "--filename=" + path, "--rw=write", "--bs=1m", "--size=%d" % (size // 2), "--buffer_compress_percentage=50",
        "--refill_buffers", "--zonemode=strided", "--zonesize=1m", "--zonerange=2m", "--end_fsync=1", "--fallocate=none")


def initial_pass(options):
    """Initial replication over TLS against nbdcopy --flush to nbdkit's file plugin over TLS."""
    size = options.disk_gib * GIB
    row = Row("initial pass, %d GiB half full, against nbdcopy" % options.disk_gib, 1.0)
    with Bench() as bench:
        device, path = bench.loop("disk", size)
        fill_half(path, size)
        bench.certificates()
        for role, where in (("server", "t"), ("client", "a")):
            os.makedirs(bench.dir + "/nbd-" + role)
            shutil.copy(bench.dir + "/pki/ca.pem", bench.dir + "/nbd-%s/ca-cert.pem" % role)
            shutil.copy(bench.dir + "/%s/cert.pem" % where, bench.dir + "/nbd-%s/%s-cert.pem" % (role, role))
            shutil.copy(bench.dir + "/%s/key.pem" % where, bench.dir + "/nbd-%s/%s-key.pem" % (role, role))

        def ours():
            bench.start_target(bench.dir + "/store")
            begun = time.monotonic()
            bench.start_agent([device])
            bench.wait_protected(900)
            taken = time.monotonic() - begun
            bench.stop_agent(detach=True)
            bench.stop_target()
            shutil.rmtree(bench.dir + "/store")
            return taken

        def peer():
            copy = bench.dir + "/copy"
            with open(copy, "wb") as image:
                image.truncate(size)
            with subprocess.Popen(["nbdkit", "-f", "-i", "127.0.0.1", "-p", str(bench.port + 1), "--tls=require",
                                   "--tls-certificates=" + bench.dir + "/nbd-server", "--tls-verify-peer", "file", copy]) as server:
                time.sleep(0.5)
                begun = time.monotonic()
                run("nbdcopy", "--flush", device, "nbds://127.0.0.1:%d/?tls-certificates=%s/nbd-client" % (bench.port + 1, bench.dir))
                taken = time.monotonic() - begun
                server.terminate()
            os.unlink(copy)
            return taken

        for mine, theirs in pairs(options.heavy_pairs, ours, peer):
            row.add(theirs / mine)
        row.note("last pair %.1f s, nbdcopy %.1f s" % (mine, theirs))
    yield row


def change_one_percent(path, size, piece):
    """Overwrites 1 % of the image in pieces spread evenly."""
    count = size // 100 // piece
    step = size // count // piece * piece
    with open(path, "r+b") as image:
        for i in range(count):
            image.seek(i * step)
            image.write(os.urandom(piece))
        image.flush()
        os.fsync(image.fileno())
    return count * piece


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as out:
        out.write("3\n")


def checksum_pass(options):
    """After a new capture, over an image with 1 % changed, against rsync --inplace --no-whole-file."""
    size = options.disk_gib * GIB // 2
    for piece, warm in ((4096, True), (65536, True), (4096, False), (65536, False)):
        row = Row("checksum pass, 1 %% changed in %d KiB, %s, against rsync" % (piece // 1024, "warm" if warm else "cold"), 4 if warm else 2)
        sent = Row("checksum pass, %d KiB, %s: bytes sent over bytes changed" % (piece // 1024, "warm" if warm else "cold"), 1.2, at_least=False)
        with Bench() as bench:
            device, path = bench.loop("disk", size)
            fill_half(path, size)
            bench.start_target(bench.dir + "/store")
            bench.start_agent([device])
            bench.wait_protected(900)
            run("cp", "--sparse=always", path, bench.dir + "/copy")
            for _ in range(options.heavy_pairs):
                bench.stop_agent(detach=True)
                changed = change_one_percent(path, size, piece)
                if not warm:
                    drop_caches()
                begun = time.monotonic()
                bench.start_agent([device])
                bench.wait_protected(900)
                mine = time.monotonic() - begun
                counters = bench.status()["counters"]
                sent.add((counters["sent_bytes"] + counters["pass_sent_bytes"]) / changed)
                if not warm:
                    drop_caches()
                begun = time.monotonic()
                run("rsync", "--ignore-times", "--inplace", "--no-whole-file", path, bench.dir + "/copy")
                row.add((time.monotonic() - begun) / mine)
            row.note("last: %.2f s" % mine)
        yield row
        yield sent


def open_point(options):
    """A 64 GiB disk with 5 million extents in its journal, made and measured by bench-view."""
    row = Row("opening any point, 64 GiB, 5 million extents: first byte", 1.0, at_least=False, unit=" s")
    memory = Row("the same: memory", 64, at_least=False, unit=" MiB")
    run("ninja", "-C", BUILD, "tests/bench/bench-view")
    with Bench() as bench:
        for _ in range(options.repeats + 1):
            text = run(os.path.join(BUILD, "tests/bench/bench-view"), bench.dir, 1 if options.quick else 5)
            if not row.notes:  # the first run made the store: its figures are warm beyond what is fair
                row.note(text.strip().splitlines()[-1])
                continue
            row.add(float(re.search(r": ([0-9.]+) s in all", text).group(1)))
            memory.add(float(re.search(r"resident ([0-9.]+) MiB", text).group(1)))
    yield row
    yield memory


ROWS = {"latency": latency, "capture-file": capture_file, "capture-ram": capture_ram, "churn": churn, "lag": lag,
        "initial-pass": initial_pass, "checksum-pass": checksum_pass, "open-point": open_point}
