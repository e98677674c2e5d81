import assert from 'node:assert/strict';
import fc from 'fast-check';
import { CalendarRule } from '../../../contract/rollout.ts';
import { createCalendar } from '../../../control-plane/rollouts/plan/calendar.ts';
import type { FleetError } from '../../../platform/errors.ts';

const TARGET = {
  tenantId: 'tenant-aa',
  slug: 'aa',
  region: 'eu',
  tier: 'standard',
  labels: { ring: '1' },
  serverName: 'eu-1',
};

function at(instant: string, ...rules: object[]): string {
  const calendar = createCalendar(rules.map((rule) => CalendarRule.parse(rule)));
  const opening = calendar.at(TARGET, new Date(instant));
  return opening.open ? 'open' : `${opening.reason} until ${opening.at.toISOString()}`;
}

const NIGHT = { open: { cron: '0 2 * * 1-5', for: '2h' }, timeZone: 'Europe/Berlin' };
const FREEZE = { freeze: { from: '2026-11-20T00:00:00Z', to: '2026-11-24T12:00:00+01:00' } };

describe('rollout calendar', () => {
  it('lets everything run where no rule matches', () => {
    assert.equal(at('2026-11-18T12:00:00Z'), 'open');
    assert.equal(at('2026-11-18T12:00:00Z', { ...NIGHT, match: { region: 'us' } }), 'open');
    assert.equal(at('2026-11-18T12:00:00Z', { ...FREEZE, match: { labels: { ring: '2' } } }), 'open');
  });

  it('opens a window at its instant, in its time zone, and closes it when it is over', () => {
    assert.equal(at('2026-11-18T00:59:59Z', NIGHT), 'outside its window until 2026-11-18T01:00:00.000Z');
    assert.equal(at('2026-11-18T01:00:00Z', NIGHT), 'open');
    assert.equal(at('2026-11-18T02:59:59.999Z', NIGHT), 'open');
    assert.equal(at('2026-11-18T03:00:00Z', NIGHT), 'outside its window until 2026-11-19T01:00:00.000Z');
    assert.equal(at('2026-11-20T12:00:00Z', NIGHT), 'outside its window until 2026-11-23T01:00:00.000Z');
    // Summer time.
    assert.equal(at('2026-07-15T00:00:00Z', NIGHT), 'open');
  });

  it('is open when one of several windows is', () => {
    const noon = { open: { cron: '0 12 * * *', for: '1h' } };
    assert.equal(at('2026-11-18T12:30:00Z', NIGHT, noon), 'open');
    assert.equal(
      at('2026-11-18T13:30:00Z', NIGHT, noon),
      'outside its window until 2026-11-19T01:00:00.000Z',
    );
  });

  it('is closed in a freeze, whatever window is open, and afterwards waits for the next one', () => {
    assert.equal(at('2026-11-20T01:30:00Z', NIGHT, FREEZE), 'frozen until 2026-11-25T01:00:00.000Z');
    assert.equal(at('2026-11-21T01:30:00Z', FREEZE), 'frozen until 2026-11-24T11:00:00.000Z');
    assert.equal(at('2026-11-24T11:00:00Z', FREEZE), 'open');
  });

  it('says an instant at which the target may really run', () => {
    const rules = [NIGHT, { open: { cron: '*/20 8-9 * * *', for: '7m' } }, FREEZE].map((rule) =>
      CalendarRule.parse(rule),
    );
    const calendar = createCalendar(rules);
    const minutes = fc.integer({ min: 0, max: 60 * 24 * 30 });
    fc.assert(
      fc.property(minutes, (minute) => {
        const now = new Date(Date.parse('2026-11-01T00:00:00Z') + minute * 60_000);
        const opening = calendar.at(TARGET, now);
        if (opening.open) return;
        assert.ok(opening.at > now);
        assert.equal(calendar.at(TARGET, opening.at).open, true);
        assert.equal(calendar.at(TARGET, new Date(opening.at.getTime() - 1)).open, false);
      }),
      { numRuns: 1_000, seed: 20261121 },
    );
  });

  it('refuses patterns, time zones and freezes that make no sense, and names them', () => {
    const refused = (rule: object, path: string) =>
      assert.throws(
        () => at('2026-11-18T00:00:00Z', rule),
        (error: FleetError) => {
          assert.equal(error.code, 'calendar_invalid');
          assert.equal(error.errors?.[0]?.path, `calendar.0.${path}`);
          return true;
        },
      );
    refused({ open: { cron: '0 25 * * *', for: '1h' } }, 'open.cron');
    refused({ open: { cron: '0 0 2 * * *', for: '1h' } }, 'open.cron');
    refused({ open: { cron: '0 0 30 2 *', for: '1h' } }, 'open.cron');
    refused({ ...NIGHT, timeZone: 'Mars/Olympus' }, 'timeZone');
    refused({ freeze: { from: '2026-11-24T00:00:00Z', to: '2026-11-20T00:00:00Z' } }, 'freeze');
  });
});
