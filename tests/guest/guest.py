#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""guest.py: start, drive and stop the QEMU guests of tests/guest.

    guest.py start DIR [options] --disk FILE[,driver=D][,format=F][,snapshot] ...   boot, return when the guest answers
    guest.py run DIR [-t SECONDS] [-i FILE] SCRIPT    run a shell script in the guest: its output, its exit code
    guest.py put DIR LOCAL REMOTE [MODE]      copy a file into the guest
    guest.py get DIR REMOTE LOCAL             copy a file out of it
    guest.py qmp DIR COMMAND [JSON]           one QMP command (stop, cont, block_resize, ...)
    guest.py poweroff DIR                     orderly shutdown, waits for it
    guest.py kill DIR                         SIGKILL: the power cut
    guest.py console DIR                      a shell on the guest's serial console (ctrl-] leaves)

DIR is the guest's run directory: control.sock, qmp.sock, serial.sock, serial.log, qemu.pid. The control protocol is
described in control.c. Every wait has a limit; a run that exceeds its time is killed in the guest and exits 124.
"""
import argparse
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
import tty

HEADER = struct.Struct('<4sIII')
MAGIC = b'HFC1'
HELLO, RUN, STDIN, KILL, STDOUT, STDERR, EXIT = range(1, 8)
PAYLOAD_MAX = 32 * 1024
HELLO_RETRY_S = 0.5
EXIT_TIMED_OUT = 124
# QEMU 7.2 emulates the unlocked cmpxchg16b of Linux 6.12's allocator wrongly (freelists get corrupted, one boot in
# two); without it the kernel takes another path.
CPU = 'max,cx16=off'
# The kernel command lines (build-image.sh, lib.sh) say no_timer_check: on a busy host the kernel's self-test of the
# timer interrupt runs out of patience and panics.
OVMF_CODE = '/usr/share/OVMF/OVMF_CODE.fd'
OVMF_VARS = '/usr/share/OVMF/OVMF_VARS.fd'
DEVICES = {
    'virtio-blk': ['virtio-blk-pci,drive={id},serial={serial}'],
    'virtio-scsi': ['virtio-scsi-pci,id={id}-bus', 'scsi-hd,bus={id}-bus.0,drive={id},serial={serial}'],
    'nvme': ['nvme,drive={id},serial={serial}'],
}


class GuestError(Exception):
    """The guest did not do what was asked; the text says what and where to look."""


class Control:
    """One connection to the control program inside the guest."""

    def __init__(self, run_dir, timeout_s):
        self.run_dir = run_dir
        self.buffer = b''
        self.job = int.from_bytes(os.urandom(3), 'little')
        deadline = time.monotonic() + timeout_s
        self.socket = self._connect(deadline)
        self._greet(deadline)

    def _connect(self, deadline):
        path = os.path.join(self.run_dir, 'control.sock')
        while True:
            try:
                sock = socket.socket(socket.AF_UNIX)
                sock.connect(path)
                return sock
            except OSError as error:
                sock.close()
                if time.monotonic() > deadline or not is_running(self.run_dir):
                    raise GuestError(f'no guest at {path}: {error}') from error
                time.sleep(0.1)

    def _greet(self, deadline):
        """Say HELLO until the guest answers this very one: whatever was under way for an earlier client is skipped."""
        nonce = os.urandom(16)
        while time.monotonic() < deadline:
            if not is_running(self.run_dir):
                raise GuestError('the guest ended before it answered; see serial.log')
            self.send(HELLO, nonce)
            until = time.monotonic() + HELLO_RETRY_S
            while (frame := self.receive(until)) is not None:
                if frame[0] == HELLO and frame[2] == nonce:
                    return
        raise GuestError('the guest does not answer on its control port; see serial.log')

    def send(self, kind, payload=b''):
        self.socket.sendall(HEADER.pack(MAGIC, kind, self.job, len(payload)) + payload)

    def receive(self, deadline):
        """The next frame as (type, job, payload), None at the deadline. Bytes that are no frame are skipped."""
        while True:
            start = self.buffer.find(MAGIC)
            if start > 0:
                self.buffer = self.buffer[start:]
            if start >= 0 and len(self.buffer) >= HEADER.size:
                _, kind, job, length = HEADER.unpack_from(self.buffer)
                end = HEADER.size + length
                if len(self.buffer) >= end:
                    payload, self.buffer = self.buffer[HEADER.size:end], self.buffer[end:]
                    return kind, job, payload
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                return None
            data = self.socket.recv(65536)
            if not data:
                raise GuestError('the guest went away')
            self.buffer += data

    def run(self, script, timeout_s, stdin=b'', out=None, err=None):
        """Run a script; its exit status. Output goes to the binary files out and err as it comes."""
        deadline = time.monotonic() + timeout_s
        self.job += 1
        self.send(RUN, script.encode())
        for at in range(0, len(stdin), PAYLOAD_MAX):
            self.send(STDIN, stdin[at:at + PAYLOAD_MAX])
        self.send(STDIN)
        while (frame := self.receive(deadline)) is not None:
            kind, job, payload = frame
            if job != self.job:
                continue
            if kind == EXIT:
                return struct.unpack('<I', payload)[0]
            target = out if kind == STDOUT else err
            if target:
                target.write(payload)
                target.flush()
        self.send(KILL)
        return EXIT_TIMED_OUT


def read_pid(run_dir):
    try:
        with open(os.path.join(run_dir, 'qemu.pid'), encoding='ascii') as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def is_running(run_dir):
    pid = read_pid(run_dir)
    try:
        with open(f'/proc/{pid}/cmdline', 'rb') as file:
            return os.path.abspath(run_dir).encode() in file.read()
    except OSError:
        return False


def wait_gone(run_dir, timeout_s):
    deadline = time.monotonic() + timeout_s
    while is_running(run_dir):
        if time.monotonic() > deadline:
            raise GuestError(f'qemu did not end within {timeout_s} s')
        time.sleep(0.05)


def qmp(run_dir, command, arguments=None, timeout_s=30):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(timeout_s)
    sock.connect(os.path.join(run_dir, 'qmp.sock'))
    with sock, sock.makefile('rw', encoding='utf-8') as stream:
        stream.readline()
        for request in ({'execute': 'qmp_capabilities'}, {'execute': command, 'arguments': arguments or {}}):
            stream.write(json.dumps(request) + '\n')
            stream.flush()
            while True:
                reply = json.loads(stream.readline())
                if 'error' in reply:
                    raise GuestError(f'{command}: {reply["error"]["desc"]}')
                if 'return' in reply:
                    break
        return reply['return']


def disk_arguments(index, text):
    """-drive and -device for "FILE[,driver=D][,format=F][,snapshot][,serial=S]"; FILE may be an nbd+unix URI."""
    path, *options = text.split(',')
    settings = dict(option.partition('=')[::2] for option in options)
    ident = f'd{index}'
    drive = f'file={path},if=none,id={ident},format={settings.get("format", "raw")},discard=unmap,detect-zeroes=off'
    drive += f',cache={settings.get("cache", "writeback")}'
    if 'snapshot' in settings:
        drive += ',snapshot=on'
    arguments = ['-drive', drive]
    devices = DEVICES[settings.get('driver', 'virtio-blk')]
    for number, device in enumerate(devices):
        device = device.format(id=ident, serial=settings.get('serial', f'hfguest{index}'))
        if number == len(devices) - 1:
            device += f',bootindex={index + 1}'
        arguments += ['-device', device]
    return arguments


def qemu_arguments(options):
    run_dir = os.path.abspath(options.dir)
    arguments = [
        'qemu-system-x86_64', '-name', f'hf-guest-{os.path.basename(run_dir)}', '-accel', 'tcg,thread=multi',
        '-cpu', options.cpu, '-M', 'q35', '-m', str(options.memory), '-smp', str(options.cpus),
        '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-rtc', 'base=utc',
        '-chardev', f'socket,id=serial,path={run_dir}/serial.sock,server=on,wait=off,logfile={run_dir}/serial.log',
        '-serial', 'chardev:serial',
        '-chardev', f'socket,id=control,path={run_dir}/control.sock,server=on,wait=off',
        '-device', 'virtio-serial-pci', '-device', 'virtserialport,chardev=control,name=holdfast.test.control',
        '-qmp', f'unix:{run_dir}/qmp.sock,server=on,wait=off',
        '-daemonize', '-pidfile', f'{run_dir}/qemu.pid',
    ]
    if options.net:
        arguments += ['-netdev', 'user,id=n0,ipv6=off', '-device', 'virtio-net-pci,netdev=n0']
    if options.firmware == 'uefi':
        shutil.copy(OVMF_VARS, f'{run_dir}/vars.fd')
        arguments += ['-drive', f'if=pflash,format=raw,readonly=on,file={OVMF_CODE}',
                      '-drive', f'if=pflash,format=raw,file={run_dir}/vars.fd']
    if options.kernel:
        arguments += ['-kernel', options.kernel, '-initrd', options.initrd, '-append', options.append]
    for index, disk in enumerate(options.disk):
        arguments += disk_arguments(index, disk)
    return arguments + options.qemu


def start(options):
    os.makedirs(options.dir, exist_ok=True)
    if is_running(options.dir):
        raise GuestError(f'a guest runs in {options.dir} already')
    for name in ('serial.log', 'qemu.pid', 'control.sock', 'qmp.sock', 'serial.sock'):
        if os.path.exists(os.path.join(options.dir, name)):
            os.remove(os.path.join(options.dir, name))
    began = time.monotonic()
    done = subprocess.run(qemu_arguments(options), check=False, timeout=30, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise GuestError(f'qemu did not start (exit code {done.returncode})')
    control = Control(options.dir, options.timeout)
    if control.run('until [ -e /run/hf-guest.ready ]; do sleep 0.1; done', options.timeout) != 0:
        raise GuestError('the guest never finished starting; see serial.log')
    print(f'guest {os.path.basename(os.path.abspath(options.dir))} ({options.firmware}) up after '
          f'{time.monotonic() - began:.1f} s', file=sys.stderr)
    return 0


def run(options):
    control = Control(options.dir, 30)
    stdin = b''
    if options.input:
        with open(options.input, 'rb') as file:
            stdin = file.read()
    status = control.run(options.script, options.timeout, stdin, out=sys.stdout.buffer, err=sys.stderr.buffer)
    if status == EXIT_TIMED_OUT:
        print(f'guest.py: not over after {options.timeout} s: {options.script[:80]}', file=sys.stderr)
    return status


def put(options):
    with open(options.local, 'rb') as file:
        data = file.read()
    script = f"cat >'{options.remote}' && chmod {options.mode} '{options.remote}'"
    return Control(options.dir, 30).run(script, 300, stdin=data, err=sys.stderr.buffer)


def get(options):
    with open(options.local, 'wb') as file:
        return Control(options.dir, 30).run(f"cat '{options.remote}'", 300, out=file, err=sys.stderr.buffer)


def poweroff(options):
    Control(options.dir, 30).run('nohup sh -c "sleep 0.2; poweroff" >/dev/null 2>&1 &', 30)
    wait_gone(options.dir, 60)
    return 0


def kill(options):
    if is_running(options.dir):
        os.kill(read_pid(options.dir), signal.SIGKILL)
        wait_gone(options.dir, 10)
    return 0


def console(options):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(os.path.join(options.dir, 'serial.sock'))
    saved = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        while True:
            ready = select.select([0, sock], [], [])[0]
            data = os.read(0, 1024) if 0 in ready else b''
            if b'\x1d' in data:
                return 0
            sock.sendall(data)
            if sock in ready:
                data = sock.recv(4096)
                if not data:
                    return 0
                os.write(1, data)
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, saved)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    def command(name, handler):
        sub = commands.add_parser(name)
        sub.add_argument('dir')
        sub.set_defaults(handler=handler)
        return sub

    sub = command('start', start)
    sub.add_argument('--disk', action='append', default=[])
    sub.add_argument('--firmware', choices=['bios', 'uefi'], default='bios')
    sub.add_argument('--kernel')
    sub.add_argument('--initrd')
    sub.add_argument('--append')
    sub.add_argument('--cpu', default=CPU)
    sub.add_argument('--cpus', type=int, default=2)
    sub.add_argument('--memory', type=int, default=512, help='MiB')
    sub.add_argument('--net', action='store_true')
    sub.add_argument('-t', '--timeout', type=float, default=240)
    sub.add_argument('--qemu', action='append', default=[], help='one more argument for qemu')
    sub = command('run', run)
    sub.add_argument('-t', '--timeout', type=float, default=60)
    sub.add_argument('-i', '--input', help='a file for the standard input')
    sub.add_argument('script')
    sub = command('put', put)
    sub.add_argument('local')
    sub.add_argument('remote')
    sub.add_argument('mode', nargs='?', default='755')
    sub = command('get', get)
    sub.add_argument('remote')
    sub.add_argument('local')
    sub = command('qmp', lambda options: print(json.dumps(
        qmp(options.dir, options.command, json.loads(options.arguments)))))
    sub.add_argument('command')
    sub.add_argument('arguments', nargs='?', default='{}')
    command('poweroff', poweroff)
    command('kill', kill)
    command('console', console)
    return parser.parse_args()


def main():
    options = parse_arguments()
    try:
        return options.handler(options)
    except (GuestError, OSError, subprocess.SubprocessError) as error:
        print(f'guest.py: {error}', file=sys.stderr)
        return 125


if __name__ == '__main__':
    sys.exit(main())
