import assert from 'node:assert/strict';
import { createLines } from '../../../fleet-cli/output/rollout-lines.ts';
import { ago, counts, ID, progress, wave } from './progress.ts';

const canary = (verified: number) =>
  wave('canary', 'running', { counts: counts({ verified, pending: 10 - verified, running: 0 }) });

/** The first wave of a rollout, seen `seconds` before NOW. */
function at(seconds: number, verified: number, more: Partial<Parameters<typeof progress>[0]> = {}) {
  const made = { waves: [canary(verified)], counts: counts({ verified, pending: 10 - verified }) };
  return progress({ ...made, now: ago(seconds), failures: [], events: [], eta: null, inFlight: [], ...more });
}

describe('the lines of a rollout in a log', () => {
  it('say where it stands, then each event once with its own time, and nothing twice', () => {
    const lines = createLines();
    assert.deepEqual(lines(at(100, 3)), ['2026-11-21T17:02:32Z running: canary running 3/10']);
    assert.deepEqual(lines(at(99, 3)), []);
    const events = [{ at: ago(99), actor: 'anna', what: 'paused', reason: 'lunch\nbreak' }];
    assert.deepEqual(lines(at(98, 3, { events, state: 'paused', cause: null })), [
      '2026-11-21T17:02:33Z paused (anna) "lunch break"',
      '2026-11-21T17:02:34Z paused: canary running 3/10',
      `2026-11-21T17:02:34Z rollout ${ID}, release 2026.11.2: paused`,
      `2026-11-21T17:02:34Z next: fleet rollout resume ${ID}`,
    ]);
    assert.deepEqual(lines(at(97, 3, { events, state: 'paused', cause: null })), []);
  });

  it('tell counts every ten seconds at most, and the last ones always', () => {
    const lines = createLines();
    lines(at(100, 0));
    assert.deepEqual(lines(at(95, 4)), []);
    assert.deepEqual(lines(at(89, 5)), ['2026-11-21T17:02:43Z running: canary running 5/10']);
    assert.deepEqual(lines(at(88, 10, { state: 'succeeded' })), [
      '2026-11-21T17:02:44Z succeeded: canary running 10/10',
      `2026-11-21T17:02:44Z rollout ${ID}, release 2026.11.2: succeeded`,
    ]);
  });

  it('name each kind of failure when it is first seen', () => {
    const lines = createLines();
    lines(at(100, 0));
    const error = { code: 'migration_failed', message: 'contains null values' };
    const failures = [
      {
        code: 'migration_failed',
        count: 1,
        error,
        example: { tenant: 'cogs', region: 'eu', server: 'eu-2' },
      },
    ];
    const first = '2026-11-21T17:02:33Z failed: cogs (eu-2): migration_failed: contains null values';
    assert.deepEqual(lines(at(99, 0, { failures })), [first]);
    assert.deepEqual(lines(at(98, 0, { failures: failures.map((group) => ({ ...group, count: 7 })) })), []);
  });
});
