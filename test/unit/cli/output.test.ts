import assert from 'node:assert/strict';
import { stripVTControlCharacters } from 'node:util';
import { parse } from 'yaml';
import type { Globals } from '../../../fleet-cli/globals.ts';
import { createOutput } from '../../../fleet-cli/output/output.ts';
import { fitWidths } from '../../../fleet-cli/output/table.ts';
import { age, lasted, spent } from '../../../fleet-cli/output/time.ts';
import type { View } from '../../../fleet-cli/output/view.ts';
import { screenIo } from './harness.ts';

interface Fruit {
  name: string;
  state: string;
  weight: number | null;
}

const fruitView: View<Fruit> = {
  noun: 'fruits',
  name: (fruit) => fruit.name,
  columns: [
    { title: 'fruit', value: (fruit) => fruit.name },
    { title: 'state', value: (fruit, paint) => paint('good', fruit.state) },
    { title: 'weight', value: (fruit) => fruit.weight, right: true, wide: true },
  ],
};
const FRUITS: Fruit[] = [
  { name: 'apple', state: 'ready', weight: 120 },
  { name: 'pear', state: 'active', weight: null },
];

function print(globals: Partial<Globals>, work: (out: ReturnType<typeof createOutput>) => void, tty = false) {
  const { io, stdout, stderr } = screenIo(
    tty,
    globals.context === undefined ? {} : { NO_COLOR: globals.context },
  );
  work(createOutput({ output: 'table', color: true, input: false, ...globals }, io));
  return { stdout: stdout.text, stderr: stderr.text };
}

describe('output', () => {
  it('aligns a table, without wide columns, cut lines or colour in a pipe', () => {
    const { stdout } = print({}, (out) => out.list(FRUITS, fruitView));
    assert.equal(stdout, 'FRUIT  STATE\napple  ready\npear   active\n');
  });

  it('adds the wide columns to wide, and marks what is absent', () => {
    const { stdout } = print({ output: 'wide' }, (out) => out.list(FRUITS, fruitView));
    assert.equal(stdout, 'FRUIT  STATE   WEIGHT\napple  ready      120\npear   active       -\n');
  });

  it('prints names only, one a line', () => {
    assert.equal(print({ output: 'name' }, (out) => out.list(FRUITS, fruitView)).stdout, 'apple\npear\n');
    assert.equal(print({ output: 'name' }, (out) => out.list([], fruitView)).stdout, '');
  });

  it('prints everything as JSON and YAML, and [] for an empty list', () => {
    const json = print({ output: 'json' }, (out) => out.list(FRUITS, fruitView));
    assert.deepEqual(JSON.parse(json.stdout), FRUITS);
    const yaml = print({ output: 'yaml' }, (out) => out.list(FRUITS, fruitView));
    assert.deepEqual(parse(yaml.stdout), FRUITS);
    const empty = print({ output: 'json' }, (out) => out.list([], fruitView));
    assert.deepEqual(empty, { stdout: '[]\n', stderr: '' });
  });

  it('says on stderr that a table is empty, unless it shall be quiet', () => {
    assert.deepEqual(
      print({}, (out) => out.list([], fruitView)),
      { stdout: '', stderr: 'no fruits\n' },
    );
    assert.equal(print({ quiet: true }, (out) => out.list([], fruitView)).stderr, '');
  });

  it('keeps messages back where stdout is for programs', () => {
    assert.equal(print({ output: 'json' }, (out) => out.note('hello')).stderr, '');
    assert.equal(print({}, (out) => out.note('hello')).stderr, 'hello\n');
  });

  it('colours a terminal only, and not when NO_COLOR or --no-color says so', () => {
    const list = (out: ReturnType<typeof createOutput>) => out.list(FRUITS, fruitView);
    assert.ok(print({}, list, true).stdout.includes('\u001b['));
    assert.ok(!print({}, list, false).stdout.includes('\u001b['));
    assert.ok(!print({ color: false }, list, true).stdout.includes('\u001b['));
    assert.ok(!print({ context: '1' }, list, true).stdout.includes('\u001b['));
  });

  it('cuts the widest column until a line fits the terminal', () => {
    assert.deepEqual(fitWidths([5, 40, 10], 40), [5, 21, 10]);
    assert.deepEqual(fitWidths([5, 10], 80), [5, 10]);
    assert.deepEqual(fitWidths([20, 20], 10), [8, 8]);
    assert.deepEqual(fitWidths([36, 30], 50, [true, false]), [36, 12]);
    assert.deepEqual(fitWidths([36], 10, [true]), [36]);
    const long = [{ name: 'a'.repeat(150), state: 'ready', weight: 1 }];
    const lines = print({}, (out) => out.list(long, fruitView), true).stdout.split('\n');
    assert.ok(lines.every((line) => stripVTControlCharacters(line).length <= 100));
  });

  it('tells ages and durations in one unit', () => {
    const now = Date.parse('2026-01-02T00:00:00.000Z');
    assert.equal(age('2026-01-01T23:59:18.000Z', now), '42s');
    assert.equal(age('2026-01-01T23:53:00.000Z', now), '7m');
    assert.equal(age('2026-01-01T21:00:00.000Z', now), '3h');
    assert.equal(age('2025-12-21T00:00:00.000Z', now), '12d');
    assert.equal(age(null, now), undefined);
    assert.equal(lasted('2026-01-01T23:59:58.500Z', null, now), '1.5s');
    assert.equal(lasted(null, null, now), undefined);
    assert.equal(spent('2026-01-01T23:59:58.500Z', null, now), '1.5s');
    assert.equal(spent('2026-01-01T23:55:56.600Z', null, now), '4m 3s');
  });
});
