import assert from 'node:assert/strict';
import { retryRollout } from '../../control-plane/rollouts/verbs/retry.ts';
import { sized } from '../support/full-size.ts';
import { ASKER, makeRolloutFleet, type RolloutFleet } from '../integration/rollouts/rollout-fleet.ts';

/** The canaries among them; the bad one stands in the middle of the second wave. */
const TENANTS = sized(40, 200);
const CANARIES = 2;
const PARALLEL = 8;
const BAD = 't118';

/** In the order in which they were written: leases, and what became of them. */
const STORY = `
  CREATE TABLE story (seq bigserial, tenant text, state text);
  CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO story (tenant, state) SELECT n.slug, NEW.state FROM tenants n WHERE n.id = NEW.tenant_id;
    RETURN NULL; END $$;
  CREATE TRIGGER tell AFTER UPDATE ON rollout_targets FOR EACH ROW
    WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION tell()`;

describe(`4: one of ${TENANTS} tenants fails, ${PARALLEL} at a time, in a wave that bears none`, function () {
  this.timeout(sized(60_000, 300_000));
  let fleet: RolloutFleet;
  let id: string;

  before(async () => {
    fleet = await makeRolloutFleet(Array.from({ length: TENANTS }, (_, index) => `t${100 + index}`));
    await fleet.registry.query(STORY);
    await fleet.spoil(BAD);
  });
  after(() => fleet.drop());

  const story = async () => {
    const { rows } = await fleet.registry.query<{ tenant: string; state: string }>(
      'SELECT tenant, state FROM story ORDER BY seq',
    );
    return rows;
  };

  it('leases nothing after the failure is recorded, and says of each where it is', async () => {
    id = await fleet.start([
      { name: 'canary', count: CANARIES },
      { name: 'rest', parallel: PARALLEL, budget: { failures: 0 } },
    ]);
    await fleet.drive(id);
    const halted = await fleet.read(id);
    assert.deepEqual([halted.state, halted.cause?.code], ['halted', 'budget_exceeded']);
    assert.deepEqual(
      halted.targets.filter(({ state }) => state === 'failed').map(({ tenant }) => tenant),
      [BAD],
    );
    assert.equal(halted.counts.verified + halted.counts.pending, TENANTS - 1);
    assert.ok(halted.counts.pending > 0);

    const told = await story();
    const after = told.slice(told.findIndex(({ state }) => state === 'failed') + 1);
    assert.ok(
      after.every(({ state }) => state === 'verified'),
      JSON.stringify(after),
    );
    assert.ok(after.length <= PARALLEL - 1, `${after.length} more finished`);
    const leased = told.filter(({ state }) => state === 'running').map(({ tenant }) => tenant);
    assert.deepEqual(leased.length, TENANTS - halted.counts.pending);
  });

  it('touches the failed and the waiting ones alone when it is tried again', async () => {
    const before = (await fleet.read(id)).targets;
    const told = (await story()).length;
    await fleet.mend(BAD);
    await fleet.registry.transaction((tx) => retryRollout(tx, id, ASKER));
    await fleet.drive(id);
    const done = await fleet.read(id);
    assert.deepEqual([done.state, done.counts.verified], ['succeeded', TENANTS]);
    const touched = new Set((await story()).slice(told).map(({ tenant }) => tenant));
    const open = before.filter(({ state }) => state !== 'verified').map(({ tenant }) => tenant);
    assert.deepEqual([...touched].toSorted(), open.toSorted());
    assert.deepEqual(
      done.targets.filter(({ tries }) => tries !== 1).map(({ tenant, tries }) => [tenant, tries]),
      [[BAD, 2]],
    );
  });
});
