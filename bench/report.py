#!/usr/bin/env python3
"""Makes tables and plots of what run.py has measured: report.py RAW.json [folder]"""

import json
import pathlib
import statistics
import sys

BASE = 'single'
LABELS = {
    'dtls': '**dtls**, LuaJIT',
    'single': 'floor, one call a datagram',
    'batch': 'floor, batches',
    'gso': 'floor, batches and GSO',
    'dimpl': 'dimpl',
    'webrtc-dtls': 'webrtc-dtls',
    'pyOpenSSL': 'pyOpenSSL',
    'plain': '*plain UDP*, floor',
    'luv': '*plain UDP*, luv',
}
# Of each column: its title, and which of the load's figures it holds.
COLUMNS = {
    'handshake': ('full handshake µs', 'cpu_us'),
    'resumed': ('resumed µs', 'cpu_us'),
    'echo64': ('64 B echo µs', 'cpu_us'),
    'echo1200': ('1200 B echo µs', 'cpu_us'),
    'burst': ('64 B in bursts µs', 'cpu_us'),
    'idle': ('idle session KiB', 'kib'),
    'hello': ('cookie-less hello µs', 'cpu_us'),
    'latency': ('round trip p50 µs', 'p50_us'),
}
NONE = '–'
PROCESSES = ['one', 'two on one core', 'two on two cores']


class Figures:
    """What was measured, by what it is of."""

    def __init__(self, raw):
        self.raw = raw
        self.results, self.failures = {}, {}
        for run in raw['runs']:
            of = tuple(run['of'])
            if 'failure' in run:
                self.failures[of] = run['failure']
            else:
                self.results.setdefault(of, []).append(run['result'])

    def all(self, kind, name, point, field='cpu_us'):
        return [result[field] for result in self.results.get((kind, name, point), [])]

    def median(self, *of):
        values = self.all(*of)
        return statistics.median(values) if values else None

    def points(self, kind):
        """The points of a sweep, in order."""
        return sorted({of[2] for of in list(self.results) + list(self.failures) if of[0] == kind})

    def names(self, kind):
        return [name for name in LABELS if any(of[0] == kind and of[1] == name for of in self.results)]

    def label(self, name):
        version = self.raw['versions'].get(name)
        return f'{LABELS[name]} {version}' if version else LABELS[name]


def write(raw, folder, name):
    """Writes NAME.md and its plots, and returns its text, which names no plots."""
    figures = Figures(raw)
    sections = [(main_table(figures) + '\n\n' + notes(figures), 'ratios', plot_ratios)]
    if figures.points('sessions'):
        title = 'CPU µs a 64 B echo, by how many sessions there are'
        sections.append((sweep_table(figures, 'sessions', title, 'sessions', since=100), 'sessions', plot_sessions))
    if figures.points('sizes'):
        sections.append((sweep_table(figures, 'sizes', 'CPU µs an echo, by its size', 'bytes'), 'sizes', plot_sizes))
    if figures.points('processes'):
        sections.append((process_table(figures), 'processes', plot_processes))
    texts, page = [head(raw)], [head(raw)]
    pyplot = start_drawing()
    for text, kind, plot in sections:
        texts.append(text)
        page.append(text)
        if pyplot:
            page.append(draw(pyplot, figures, folder / f'{name}-{kind}.svg', plot))
    (folder / f'{name}.md').write_text('\n\n'.join(page) + '\n')
    return '\n\n'.join(texts)


def head(raw):
    about = raw['machine']
    return (f"# What it costs\n\n`{raw['command']}`, {raw['date']}, commit {raw['commit']}; {about['processor']}, "
            f"{about['cores']} cores, {about['kernel']}.\nMedians of {raw['rounds']} alternating rounds of "
            f"{raw['seconds']:g} s, the range below; × is the ratio to the floor with one system call a datagram.")


def main_table(figures):
    rows = []
    for name in LABELS:
        middle, ranges = [figures.label(name)], ['']
        for column, (_, field) in COLUMNS.items():
            values, base = figures.all('table', name, column, field), figures.median('table', BASE, column, field)
            value = statistics.median(values) if values else None
            middle.append(cell(value, base))
            ranges.append(f'{number(min(values))}–{number(max(values))}' if values else '')
        rows += [middle, ranges]
    return table(['server'] + [title for title, _ in COLUMNS.values()], rows)


def cell(value, base):
    if value is None:
        return NONE
    return f'{number(value)} ×{value / base:.2f}' if base else number(value)


def number(value):
    """Three digits, which is what it is good for."""
    return f'{value:.0f}' if abs(value) >= 99.5 else f'{value:.1f}' if abs(value) >= 9.95 else f'{value:.2f}'


def table(titles, rows):
    widths = [max(len(row[at]) for row in [titles] + rows) for at in range(len(titles))]
    def line(row):
        return '| ' + ' | '.join(word.ljust(width) for word, width in zip(row, widths)) + ' |'
    rule = '|' + '|'.join('-' * (width + 2) for width in widths) + '|'
    return '\n'.join([line(titles), rule] + [line(row) for row in rows])


def notes(figures):
    lines = []
    # What a flood of hellos has left behind.
    for name in LABELS:
        growth = figures.all('table', name, 'hello', 'growth_kib')
        if growth:
            count = statistics.median(figures.all('table', name, 'hello', 'count'))
            lines.append(f'- {figures.label(name)}: grew by {statistics.median(growth):.0f} KiB (at most '
                         f'{max(growth):.0f}) in a flood of {count:.0f} hellos')
    reasons = {}
    for (kind, name, point), failure in figures.failures.items():
        what = COLUMNS[point][0] if kind == 'table' else f'{kind} {point}'
        reasons.setdefault((figures.label(name), failure), []).append(what)
    for (label, failure), what in reasons.items():
        lines.append(f"- {label}: {failure} ({', '.join(what)})")
    return '\n'.join(lines)


def sweep_table(figures, kind, title, unit, since=None):
    """A row for each server; with `since`, how much more the last point costs than that one."""
    points = figures.points(kind)
    titles = [unit] + [str(point) for point in points] + ([f'{points[-1]} to {since}'] if since else [])
    rows = []
    for name in figures.names(kind):
        values = [figures.median(kind, name, point) for point in points]
        row = [cell(value, figures.median(kind, BASE, point)) for value, point in zip(values, points)]
        if since:
            first = figures.median(kind, name, since)
            row.append(f'×{values[-1] / first:.2f}' if first and values[-1] else NONE)
        rows.append([figures.label(name)] + row)
    return f'## {title}\n\n' + table(titles, rows)


def process_table(figures):
    """What two processes could carry, if each had a core for itself: twice what one spends, by what they spend."""
    rows = []
    for name in figures.names('processes'):
        one = figures.median('processes', name, 'one')
        for way in PROCESSES:
            value = figures.median('processes', name, way)
            if value is None:
                continue
            shares = figures.all('processes', name, way, 'shares')
            share = statistics.median(max(share) for share in shares)
            count = len(shares[0])
            rows.append([figures.label(name), way, number(value), f'{1e6 * count / value:.0f}',
                         f'{count * one / value:.2f}', f'{100 * share:.0f} %'])
    titles = ['processes on one port', '', 'CPU µs a 64 B echo', 'echoes a second of CPU in each', '× one',
              'share of the busier']
    return '## One process and two on one port\n\n' + table(titles, rows)


def start_drawing():
    try:
        import matplotlib
    except ImportError:
        print('dtls: there is no matplotlib, so there are no plots.', file=sys.stderr)
        return None
    matplotlib.use('svg')
    # The same picture of the same figures, byte for byte.
    matplotlib.rcParams.update({'svg.hashsalt': 'dtls', 'svg.fonttype': 'none'})
    matplotlib.rcParams.update({'font.size': 9, 'axes.grid': True, 'grid.alpha': 0.3})
    from matplotlib import pyplot
    return pyplot


def draw(pyplot, figures, file, plot):
    """Draws one, and returns what shows it on a page."""
    figure, axes = pyplot.subplots(figsize=(9, 5))
    title = plot(figures, axes)
    axes.set_title(title)
    axes.legend(loc='center left', bbox_to_anchor=(1, 0.5))
    figure.tight_layout()
    figure.savefig(file, metadata={'Date': None})
    pyplot.close(figure)
    return f'![{title}]({file.name})'


def plain(label):
    return label.replace('*', '')


def plot_ratios(figures, axes):
    names = [name for name in figures.names('table') if name != BASE]
    for at, name in enumerate(names):
        places, ratios = [], []
        for place, (column, (_, field)) in enumerate(COLUMNS.items()):
            value, base = (figures.median('table', who, column, field) for who in (name, BASE))
            if value and base:
                # A little below one another, so that equals can be told apart.
                places.append(place + (at / (len(names) - 1) - 0.5) * 0.6)
                ratios.append(value / base)
        axes.plot(ratios, places, 'D' if name == 'dtls' else 'o', markersize=8 if name == 'dtls' else 5,
                  label=plain(figures.label(name)))
    axes.axvline(1, color='black', linewidth=1, label=plain(figures.label(BASE)))
    axes.set_xscale('log')
    ticks = [0.1, 0.2, 0.5, 1, 2, 5]
    axes.set_xticks(ticks, [f'{tick:g}' for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(COLUMNS)), [title for title, _ in COLUMNS.values()])
    axes.invert_yaxis()
    return 'Cost as a ratio to the floor with one system call a datagram'


def plot_sweep(figures, axes, kind):
    for name in figures.names(kind):
        points = [point for point in figures.points(kind) if figures.all(kind, name, point)]
        values = [figures.all(kind, name, point) for point in points]
        middle = [statistics.median(value) for value in values]
        errors = [[m - min(v) for m, v in zip(middle, values)], [max(v) - m for m, v in zip(middle, values)]]
        axes.errorbar(points, middle, errors, marker='o', capsize=3, label=plain(figures.label(name)))
    axes.set_xscale('log')
    axes.set_xticks(figures.points(kind), [str(point) for point in figures.points(kind)])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_ylabel('CPU µs')


def plot_sessions(figures, axes):
    plot_sweep(figures, axes, 'sessions')
    axes.set_xlabel('sessions')
    return 'CPU per 64 B echo against the number of sessions'


def plot_sizes(figures, axes):
    plot_sweep(figures, axes, 'sizes')
    axes.set_xlabel('bytes')
    return 'CPU per echo against its size'


def plot_processes(figures, axes):
    names = figures.names('processes')
    for at, name in enumerate(names):
        values = [figures.median('processes', name, way) or 0 for way in PROCESSES]
        places = [place + (at - (len(names) - 1) / 2) * 0.4 for place in range(len(PROCESSES))]
        axes.bar(places, values, 0.4, label=plain(figures.label(name)))
    axes.set_xticks(range(len(PROCESSES)), PROCESSES)
    axes.set_ylabel('CPU µs')
    return 'CPU per 64 B echo, all processes on one port together'


if __name__ == '__main__':
    source = pathlib.Path(sys.argv[1])
    target = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else source.parent
    print(write(json.loads(source.read_text()), target, source.stem))
