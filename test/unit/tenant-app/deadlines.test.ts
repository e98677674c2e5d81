import assert from 'node:assert/strict';
import { createDeadlines, type Timed } from '../../../tenant-app/routing/deadlines.ts';
import { until } from '../../support/until.ts';

interface Item extends Timed {
  name: string;
}
const item = (name: string): Item => ({ name, end: 0, older: undefined, newer: undefined });

describe('deadlines', () => {
  it('tell of what is still in when its time is over, in order, and of nothing else', async () => {
    const due: string[] = [];
    const deadlines = createDeadlines<Item>(30, ({ name }) => due.push(name));
    const items = ['a', 'b', 'c', 'd', 'e'].map(item);
    for (const each of items) deadlines.add(each);
    // The first, the last, one in between, and one twice.
    for (const index of [0, 4, 2, 2]) {
      const gone = items[index];
      if (gone !== undefined) deadlines.delete(gone);
    }
    const keepAlive = setTimeout(() => undefined, 5_000);
    await until('two are due', async () => due.length === 2);
    assert.deepEqual(due, ['b', 'd']);
    const later = item('later');
    deadlines.add(later);
    await until('the later one is due', async () => due.length === 3);
    clearTimeout(keepAlive);
    deadlines.delete(later);
    assert.deepEqual(due, ['b', 'd', 'later']);
  });
});
