#!/usr/bin/env python3
"""Compares the server with the yardsticks and with others' libraries, by turns: run.py [--quick] [--full]

`make bench` builds all it needs and calls it. The results go to bench/results/; report.py draws them.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile

import report

ROOT = pathlib.Path(__file__).resolve().parent.parent
BENCH = ROOT / 'bench'
BUILT = pathlib.Path(os.environ.get('CARGO_TARGET_DIR', ROOT / 'target')) / 'release'
PEERS = BENCH / 'peers/target/release'
RESULTS = BENCH / 'results'
SECRET = 'what processes on one port share'

FLOOR = str(BUILT / 'floor')
# Its name in the results, its program, and whether it speaks DTLS.
SERVERS = {
    'dtls': (['luajit', str(BENCH / 'echo-server.lua')], True),
    'single': ([FLOOR], True),
    'batch': ([FLOOR], True),
    'gso': ([FLOOR], True),
    'dimpl': ([str(PEERS / 'dimpl-echo')], True),
    'webrtc-dtls': ([str(PEERS / 'webrtc-echo')], True),
    'pyOpenSSL': ([sys.executable, str(BENCH / 'peers/pyopenssl.py')], True),
    'plain': ([FLOOR], False),
    'luv': (['luajit', str(BENCH / 'udp-echo.lua')], False),
}
# What a server is told behind its certificate and key.
WAYS = {'single': ['single'], 'batch': ['batch'], 'gso': ['gso'], 'plain': ['plain']}
# What is measured in each round. Memory comes first, when the process is new.
COLUMNS = {
    'idle': ['idle', '--sessions', 1000],
    'handshake': ['handshake'],
    'resumed': ['handshake', '--resume'],
    'echo64': ['echo', '--size', 64],
    'echo1200': ['echo', '--size', 1200],
    'burst': ['echo', '--size', 64, '--burst'],
    'latency': ['latency'],
    'hello': ['hello'],
}
PLAIN_COLUMNS = ['echo64', 'echo1200', 'burst', 'latency']
SESSIONS = [10, 100, 1000, 10000, 20000]
SIZES = [16, 64, 256, 1200, 4096, 16000]
# How many bytes may be under way: what a socket's buffer holds of large messages.
UNDER_WAY = 128 * 1024
# Two processes share a core, where nothing is in each other's way but what is shared; or have one each.
PROCESSES = {'one': [0], 'two on one core': [0, 0], 'two on two cores': [0, 1]}


class Failure(Exception):
    """Why there is no figure."""


class Server:
    """A server's process, pinned to a core."""

    def __init__(self, name, identity, core, port=0, secret=None):
        command, self.is_secure = SERVERS[name]
        if not shutil.which(command[0]):
            raise Failure('it could not be built')
        command = ['taskset', '-c', str(core)] + command + ['127.0.0.1', str(port)] + identity
        command += WAYS.get(name, []) + ([secret] if secret and name == 'dtls' else [])
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        found = re.match(r'listening on \S+ port (\d+)', self.process.stdout.readline())
        if not found:
            self.stop()
            lines = self.process.stderr.read().strip().splitlines()
            raise Failure(f'it does not start: {lines[-1] if lines else "without a word"}')
        self.port = int(found.group(1))

    def stop(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Bench:
    def __init__(self, options, identity):
        self.identity = identity
        self.cores = sorted(os.sched_getaffinity(0))[:2]
        if len(self.cores) < 2:
            sys.exit('dtls: one core for the server and one for the load are needed.')
        self.rounds = options.rounds or (2 if options.quick else 5)
        self.seconds = 0.4 if options.quick else 1.0
        # Every measurement: what it is of, and what the load has said.
        self.runs = []

    def start(self, name, core=0, **shared):
        return Server(name, self.identity, self.cores[core], **shared)

    def load(self, servers, arguments):
        command = ['taskset', '-c', str(self.cores[1]), str(BUILT / 'load'), arguments[0]]
        command += [f'127.0.0.1:{servers[0].port}', '--seconds', str(self.seconds)]
        command += [] if servers[0].is_secure else ['--plain']
        for server in servers:
            command += ['--pid', str(server.process.pid)]
        command += [str(word) for word in arguments[1:]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode:
            last = (done.stderr.strip() or 'the load crashed').splitlines()[-1]
            raise Failure(last.removeprefix(f'load: {arguments[0]}: '))
        return json.loads(done.stdout)

    def note(self, of, measure):
        """Adds a measurement, or why there is none. What has failed the first time is not tried again."""
        first = next((run for run in self.runs if run['of'] == of), {})
        if 'failure' in first:
            return
        try:
            self.runs.append({'of': of, 'result': measure()})
        except (Failure, OSError, subprocess.TimeoutExpired) as failure:
            self.runs.append({'of': of, 'failure': str(failure)})

    def compare(self):
        for number in range(self.rounds):
            for name in SERVERS:
                say(f'round {number + 1} of {self.rounds}: {name}')
                self.compare_one(name)

    def compare_one(self, name):
        """One server's turn: a process that is new, and dies of nothing that it is asked."""
        server = None
        for column, arguments in COLUMNS.items():
            if not SERVERS[name][1] and column not in PLAIN_COLUMNS:
                continue
            if server and server.process.poll() is not None:
                server = None
            try:
                server = server or self.start(name)
            except (Failure, OSError) as failure:
                self.runs.append({'of': ['table', name, column], 'failure': str(failure)})
                continue
            self.note(['table', name, column], lambda: self.load([server], arguments))
        if server:
            server.stop()

    def sweep(self, kind, names, points, arguments, rounds=3):
        for number in range(rounds):
            for point in points:
                say(f'{kind}, round {number + 1} of {rounds}: {point}')
                for name in names:
                    self.note([kind, name, point], lambda: self.sweep_one(name, arguments(point)))

    def sweep_one(self, name, arguments):
        with self.start(name) as server:
            return self.load([server], arguments)

    def share(self, names, rounds=3):
        """One process and two on one port."""
        for number in range(rounds):
            for way, cores in PROCESSES.items():
                say(f'processes, round {number + 1} of {rounds}: {way}')
                for name in names:
                    self.note(['processes', name, way], lambda: self.share_one(name, cores))

    def share_one(self, name, cores):
        servers = []
        try:
            for core in cores:
                port = servers[0].port if servers else 0
                servers.append(self.start(name, core, port=port, secret=SECRET))
            return self.load(servers, ['echo', '--sessions', 64, '--window', 1])
        finally:
            for server in servers:
                server.stop()


def say(words):
    print(words, file=sys.stderr, flush=True)


def sized(size):
    """An echo of messages of this size."""
    window = max(1, min(8, UNDER_WAY // size // 8))
    return ['echo', '--size', size, '--window', window]


def machine():
    model = re.search(r'model name\s*:\s*(.*)', pathlib.Path('/proc/cpuinfo').read_text())
    return {
        'processor': model.group(1) if model else platform.machine(),
        'cores': os.cpu_count(),
        'kernel': f'{platform.system()} {platform.release()}',
    }


def versions():
    """Those of the others."""
    found = {}
    lock = (BENCH / 'peers/Cargo.lock').read_text()
    for name in ('dimpl', 'webrtc-dtls'):
        found[name] = re.search(rf'name = "{name}"\nversion = "(.*)"', lock).group(1)
    wanted = (BENCH / 'peers/requirements.txt').read_text()
    found['pyOpenSSL'] = re.search(r'pyOpenSSL==(.*)', wanted).group(1)
    return found


def commit():
    asked = ['git', '-C', str(ROOT), 'describe', '--always', '--dirty', '--exclude', '*']
    done = subprocess.run(asked, capture_output=True, text=True)
    return done.stdout.strip() or 'unknown'


def make_identity(folder):
    """An ECDSA P-256 key and its certificate, in files."""
    cert, key = f'{folder}/cert.pem', f'{folder}/key.pem'
    subprocess.run(
        ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30',
         '-subj', '/CN=localhost', '-out', cert, '-keyout', key],
        check=True, capture_output=True)
    return [cert, key]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true', help='two short rounds and nothing but the table')
    parser.add_argument('--full', action='store_true', help='50 000 sessions too, which takes 8 GB')
    parser.add_argument('--rounds', type=int, help='how many rounds the table is made of')
    options = parser.parse_args()
    began = datetime.datetime.now(datetime.timezone.utc)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, make_identity(folder))
        bench.compare()
        if not options.quick:
            counts = SESSIONS + ([50000] if options.full else [])
            bench.sweep('sessions', ['dtls', 'single'], counts, lambda count: ['echo', '--roving', '--sessions', count])
            bench.sweep('sizes', ['dtls', 'single', 'gso', 'dimpl', 'plain'], SIZES, sized)
            bench.share(['dtls', 'single'])
    flags = sys.argv[1:]
    raw = {
        'date': began.strftime('%Y-%m-%d %H:%M UTC'),
        'command': ' '.join(['make bench'] + ([f"BENCH_FLAGS='{' '.join(flags)}'"] if flags else [])),
        'commit': commit(),
        'machine': machine(),
        'versions': versions(),
        'rounds': bench.rounds,
        'seconds': bench.seconds,
        'runs': bench.runs,
    }
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / began.strftime('%Y%m%d-%H%M%S.json')
    file.write_text(json.dumps(raw, indent=1) + '\n')
    # A quick look is no reason to replace what was measured with care.
    print(report.write(raw, RESULTS, 'quick' if options.quick else 'latest'))


if __name__ == '__main__':
    main()
