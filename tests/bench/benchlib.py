# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: a machine and a target to measure, pairs, and what to make of them.

Every figure is a ratio of two measurements made one after the other in the same run (A B, B A, ...), because machines are
shared and drift; the interval is the 95 % t interval of the mean of the logarithms. An aim holds when the worse end
of the interval meets it.
"""

import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("HF_BUILD", os.path.join(TOP, "build"))
HOLDFAST = os.path.join(BUILD, "src/cli/holdfast")
AGENT = os.path.join(BUILD, "src/agent/holdfast-agent")
TARGET = os.path.join(BUILD, "src/target/holdfast-target")
DUMP = os.path.join(BUILD, "tests/capture/hf-capture-dump")
# Two-sided 95 % quantiles of Student's t by degrees of freedom.
T95 = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228, 11: 2.201,
       12: 2.179, 13: 2.160, 14: 2.145, 15: 2.131, 19: 2.093, 29: 2.045}


class BenchError(Exception):
    pass


def t95(freedom):
    return T95.get(freedom) or T95[max(k for k in T95 if k <= freedom)]


def interval(ratios):
    """(middle, low, high) of ratios."""
    logs = [math.log(r) for r in ratios]
    n = len(logs)
    mean = sum(logs) / n
    if n < 2:
        return math.exp(mean), 0.0, math.inf
    spread = math.sqrt(sum((x - mean) ** 2 for x in logs) / (n - 1))
    half = t95(n - 1) * spread / math.sqrt(n)
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


class Row:
    """One line of the table. at_least: ratio ≥ aim is good; otherwise ≤ aim is."""

    def __init__(self, name, aim, at_least=True, unit="×"):
        self.name, self.aim, self.at_least, self.unit = name, aim, at_least, unit
        self.samples, self.notes = [], []

    def add(self, ratio):
        self.samples.append(ratio)

    def note(self, text):
        self.notes.append(text)

    def result(self):
        middle, low, high = interval(self.samples)
        worse = low if self.at_least else high
        met = None if self.aim is None else (worse >= self.aim if self.at_least else worse <= self.aim)
        return {"name": self.name, "aim": self.aim, "at_least": self.at_least, "unit": self.unit, "middle": middle, "low": low,
                "high": high, "pairs": len(self.samples), "met": met, "notes": self.notes}


def pairs(count, measure_a, measure_b):
    """Measures A and B `count` times, in turn and in turning order; yields (a, b)."""
    for i in range(count):
        if i % 2:
            b = measure_b()
            a = measure_a()
        else:
            a = measure_a()
            b = measure_b()
        yield a, b


def run(*words, **options):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        raise BenchError("%s: exit %d\n%s%s" % (" ".join(map(str, words)), done.returncode, done.stdout[-2000:], done.stderr[-2000:]))
    return done.stdout


def fio(device, seconds, extra, cpu=None):
    """Runs one fio job and gives its JSON object."""
    words = ["fio", "--name=job", "--filename=" + device, "--direct=1", "--ioengine=io_uring", "--time_based", "--runtime=%d" % seconds,
             "--randrepeat=0", "--norandommap", "--output-format=json", "--buffer_compress_percentage=50", "--refill_buffers"]
    if cpu is not None:
        words = ["taskset", "-c", str(cpu)] + words
    text = run(*words, *extra)
    return json.loads(text[text.index("{"):])["jobs"][0]


class Bench:
    """Loop devices, a target and an agent below one directory; everything goes at the end."""

    def __init__(self):
        self.stack = contextlib.ExitStack()
        self.dir = tempfile.mkdtemp(prefix="hf-bench-", dir="/var/tmp")
        self.ram = tempfile.mkdtemp(prefix="hf-bench-", dir="/dev/shm")
        self.stack.callback(shutil.rmtree, self.dir, True)
        self.stack.callback(shutil.rmtree, self.ram, True)
        self.agent = self.target = None
        self.port = 21000 + os.getpid() % 20000
        self.bpffs = "/sys/fs/bpf/holdfast/bench%d" % os.getpid()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop_agent(detach=True)
        self.stop_target()
        self.stack.close()

    def loop(self, name, size_bytes, where=None, direct=True):
        path = os.path.join(where or self.dir, name)
        with open(path, "wb") as image:
            image.truncate(size_bytes)
        device = run("losetup", "-f", "--show", "--direct-io=%s" % ("on" if direct else "off"), path).strip()
        self.stack.callback(subprocess.run, ["losetup", "-d", device], check=False)
        return device, path

    def certificates(self):
        if not os.path.exists(self.dir + "/pki"):
            run(HOLDFAST, "pki", "init", self.dir + "/pki")
            run(HOLDFAST, "pki", "issue", self.dir + "/pki", "target", "recovery", "--host", "127.0.0.1", "--out", self.dir + "/t")
            run(HOLDFAST, "pki", "issue", self.dir + "/pki", "agent", "m1", "--out", self.dir + "/a")

    def start_target(self, store, cpu=None):
        self.certificates()
        self.store = store
        os.makedirs(store, exist_ok=True)
        config = os.path.join(self.dir, "target.yaml")
        with open(config, "w", encoding="utf-8") as out:
            out.write("store: %s\nlisten: 127.0.0.1:%d\ntls:\n  certificate: %s/t/cert.pem\n  key: %s/t/key.pem\n  authority: %s/pki/ca.pem\n"
                      % (store, self.port, self.dir, self.dir, self.dir))
        words = [TARGET, "--config", config]
        if cpu is not None:
            words = ["taskset", "-c", str(cpu)] + words
        with open(self.dir + "/target.log", "ab") as log:
            self.target = subprocess.Popen(words, stdout=log, stderr=log)

    def stop_target(self):
        if self.target:
            self.target.send_signal(signal.SIGTERM)
            self.target.wait()
            self.target = None

    def start_agent(self, devices, cpu=None, extra=""):
        config = os.path.join(self.dir, "agent.yaml")
        os.makedirs(self.dir + "/state", exist_ok=True)
        with open(config, "w", encoding="utf-8") as out:
            out.write("machine:\n  name: m1\n  id: 0123456789abcdef0123456789abcdef\ntarget:\n  address: 127.0.0.1:%d\ntls:\n  certificate: %s/a/cert.pem\n"
                      "  key: %s/a/key.pem\n  authority: %s/pki/ca.pem\nstate_dir: %s/state\ncontrol_socket: %s/agent.sock\nbpffs_dir: %s\ndisks:\n%s%s"
                      % (self.port, self.dir, self.dir, self.dir, self.dir, self.dir, self.bpffs,
                         "".join("  - %s\n" % d for d in devices), extra))
        words = [AGENT, "--config", config]
        if cpu is not None:
            words = ["taskset", "-c", str(cpu)] + words
        with open(self.dir + "/agent.log", "ab") as log:
            self.agent = subprocess.Popen(words, stdout=log, stderr=log)

    def stop_agent(self, detach=False):
        if self.agent:
            self.agent.send_signal(signal.SIGTERM)
            self.agent.wait()
            self.agent = None
        if detach and os.path.exists(self.dir + "/agent.yaml"):
            subprocess.run([AGENT, "detach", "--config", self.dir + "/agent.yaml"], capture_output=True, check=False)

    def status(self):
        done = subprocess.run([HOLDFAST, "agent", "status", "--socket", self.dir + "/agent.sock", "-o", "json"], capture_output=True,
                              text=True, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def wait_protected(self, seconds=300):
        """Seconds it took."""
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            status = self.status()
            if status and status["protected"]:
                return time.monotonic() - begun
            if self.agent.poll() is not None:
                break
            time.sleep(0.02)
        with open(self.dir + "/agent.log", encoding="utf-8", errors="replace") as log:
            raise BenchError("not protected after %d s\n%s" % (seconds, log.read()[-3000:]))

    @contextlib.contextmanager
    def draining(self, devices):
        """Captures and throws away."""
        with subprocess.Popen([DUMP, "drain", self.bpffs + "-drain", *devices], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as dump:
            dump.stdout.readline()
            try:
                yield
            finally:
                dump.send_signal(signal.SIGINT)
                dump.stdout.read()


def describe_machine():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        model = [line.split(":")[1].strip() for line in info if line.startswith("model name")]
    with open("/proc/meminfo", encoding="utf-8") as info:
        memory_kib = int(info.readline().split()[1])
    return "%d × %s, %.0f GiB memory, Linux %s" % (len(model), model[0], memory_kib / 2**20, os.uname().release)
