import assert from 'node:assert/strict';
import fc from 'fast-check';
import { dueAt, planDue, type Serving } from '../../../control-plane/rotations/policy/plan.ts';
import { TIERS, type Tier } from '../../../contract/tenant.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const EVERY_MS = 5 * 60_000;
const START = Date.UTC(2026, 0, 1);
const SEED = 20_261_122;

const period = fc.integer({ min: 24, max: 90 * 24 }).map((hours) => hours * HOUR_MS);
const servingOf = (ids: readonly number[], since: number, tier: Tier = 'standard'): Serving[] =>
  ids.map((id) => ({ tenantId: `tenant-${id}`, tier, since }));
const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index);
const counts = (standard: number): Record<Tier, number> => ({ standard, premium: 0, enterprise: 0 });

/** Looks every five minutes; whatever is planned is rotated at once. Answers how many each look took, and the oldest. */
function simulate(fleet: Serving[], periodMs: number, looks: number, from: number) {
  let present = fleet;
  let oldest = 0;
  const taken: number[] = [];
  for (let look = 0; look < looks; look += 1) {
    const now = from + look * EVERY_MS;
    const due = new Set(
      planDue(present, { standard: periodMs }, { now, everyMs: EVERY_MS, tenants: counts(fleet.length) }),
    );
    taken.push(due.size);
    present = present.map((one) => {
      if (!due.has(one.tenantId)) return one;
      oldest = Math.max(oldest, now - one.since);
      return { ...one, since: now };
    });
  }
  return { taken, oldest, present };
}

describe('the rotation policy', () => {
  it('makes each credential due before its period is over, at an instant that does not change', () => {
    fc.assert(
      fc.property(fc.uuid(), period, fc.constantFrom(...TIERS), (tenantId, periodMs, tier) => {
        const due = dueAt({ tenantId, tier, since: START }, periodMs);
        assert.equal(due, dueAt({ tenantId, tier, since: START }, periodMs));
        assert.ok(due >= START + 0.75 * periodMs && due <= START + 0.95 * periodMs);
      }),
      { seed: SEED },
    );
  });

  it('spreads a fleet that was rotated in one instant, and is never late', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 120 }),
        fc.integer({ min: 1, max: 2 }).map((days) => days * DAY_MS),
        (tenants, periodMs) => {
          const fleet = servingOf(range(tenants), START);
          const { taken, oldest, present } = simulate(fleet, periodMs, periodMs / EVERY_MS, START);
          assert.ok(
            present.every(({ since }) => since > START),
            'all are rotated within the period',
          );
          assert.ok(oldest <= periodMs);
          // Five times as dense as evenly, and eight times at the very most.
          const most = Math.max(1, Math.ceil((8 * tenants * EVERY_MS) / periodMs));
          assert.ok(Math.max(...taken) <= most, `${Math.max(...taken)} of ${tenants} at once`);
        },
      ),
      { seed: SEED, numRuns: 12 },
    );
  });

  it('is no herd after days without a control plane, and catches up with the longest due first', () => {
    const tenants = 400;
    const periodMs = 10 * DAY_MS;
    const fleet = servingOf(range(tenants), START);
    const back = START + 30 * DAY_MS;
    const { taken, present } = simulate(fleet, periodMs, DAY_MS / EVERY_MS, back);
    const most = Math.ceil((8 * tenants * EVERY_MS) / periodMs);
    assert.ok(taken.every((count) => count <= most));
    // In an eighth of the period, which is a day and a quarter.
    const { present: caughtUp } = simulate(present, periodMs, (DAY_MS / EVERY_MS) * 0.5, back + DAY_MS);
    assert.ok(caughtUp.every(({ since }) => since >= back));
    const at = { now: back, everyMs: EVERY_MS, tenants: counts(3) };
    const mixed: Serving[] = [
      { tenantId: 'young', tier: 'standard', since: START + 15 * DAY_MS },
      { tenantId: 'old', tier: 'standard', since: START },
    ];
    assert.deepEqual(planDue(mixed, { standard: periodMs }, at), ['old']);
  });

  it('leaves tiers alone that it does not name, and keeps them apart', () => {
    const fleet = [...servingOf([1, 2], START, 'premium'), ...servingOf([3], START, 'enterprise')];
    const at = {
      now: START + 400 * DAY_MS,
      everyMs: EVERY_MS,
      tenants: { standard: 0, premium: 2, enterprise: 1 },
    };
    assert.deepEqual(planDue(fleet, { enterprise: DAY_MS }, at), ['tenant-3']);
    assert.deepEqual(planDue(fleet, {}, at), []);
    assert.equal(planDue(fleet, { premium: DAY_MS, enterprise: DAY_MS }, at).length, 2);
  });
});
