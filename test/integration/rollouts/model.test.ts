import assert from 'node:assert/strict';
import fc from 'fast-check';
import { approveRollout } from '../../../control-plane/rollouts/approve.ts';
import { promoteRollout } from '../../../control-plane/rollouts/promote.ts';
import {
  abortRollout,
  pauseRollout,
  resumeRollout,
  retryRollout,
  skipTarget,
} from '../../../control-plane/rollouts/verbs.ts';
import { FleetError } from '../../../platform/errors.ts';
import { sized } from '../../support/full-size.ts';
import { makeModelFleet, type ModelFleet } from './model-fleet.ts';
import { ASKER } from './rollout-fleet.ts';

/**
 * Any words, crashes, failures and changes of the fleet, in any order, against the real engine: whatever happens,
 * invariants 4 and 5 of the design hold, and what it says of a target is true of its database.
 */
const WORLDS = 4;
/** 100 in an ordinary run take a quarter of a minute; `npm run test:full` does 500. */
const RUNS = sized(100, 500);
const COMMANDS = 30;
/** Targets repaired after that, one by one: with the budgets of the model a halt seldom leaves more. */
const REPAIRS = 3;

/** Refusals are answers: 403, 404, 409. Anything else that is thrown is a fault. */
async function say(
  fleet: ModelFleet,
  verb: (tx: never, id: string, asker: never) => Promise<void>,
  more = {},
) {
  try {
    await fleet.registry.transaction((tx) => verb(tx as never, fleet.id(), { ...ASKER, ...more } as never));
  } catch (error) {
    if (!(error instanceof FleetError) || error.status >= 500) throw error;
  }
}

type Command = [name: keyof typeof COMMAND, nth: number];

const COMMAND = {
  start: (fleet: ModelFleet) => (fleet.id() === '' ? fleet.start() : fleet.pump()),
  work: (fleet: ModelFleet) => fleet.pump(),
  finish: (fleet: ModelFleet, nth: number) => fleet.finishOne(nth),
  pause: (fleet: ModelFleet) => say(fleet, pauseRollout),
  resume: (fleet: ModelFleet) => say(fleet, resumeRollout),
  promote: (fleet: ModelFleet, nth: number) => say(fleet, promoteRollout, { full: nth % 5 === 0 }),
  approve: (fleet: ModelFleet) => say(fleet, approveRollout),
  abort: (fleet: ModelFleet, nth: number) => say(fleet, abortRollout, { force: nth % 2 === 0 }),
  retry: (fleet: ModelFleet) => say(fleet, retryRollout),
  retryOne: async (fleet: ModelFleet, nth: number) =>
    say(fleet, retryRollout, { target: (await fleet.failing(nth)) ?? fleet.tenant(nth) }),
  repair: async (fleet: ModelFleet, nth: number) => {
    const target = await fleet.failing(nth);
    if (target === undefined) return;
    fleet.mend(target);
    await say(fleet, retryRollout, { target });
  },
  skip: (fleet: ModelFleet, nth: number) =>
    say(fleet, skipTarget, { target: fleet.tenant(nth), reason: 'test' }),
  crash: (fleet: ModelFleet, nth: number) => fleet.crash(nth % 2 === 0),
  spoil: async (fleet: ModelFleet, nth: number) => fleet.spoil(nth, true),
  mend: async (fleet: ModelFleet, nth: number) => fleet.spoil(nth, false),
  create: (fleet: ModelFleet) => fleet.addTenant(),
  suspend: (fleet: ModelFleet, nth: number) => fleet.setTenantState(nth, 'suspended'),
  comeBack: (fleet: ModelFleet, nth: number) => fleet.setTenantState(nth, 'active'),
  remove: (fleet: ModelFleet, nth: number) => fleet.setTenantState(nth, 'offboarding'),
};

/** Failures, and words about them, are what budgets are for: few rollouts are aborted, many fail in several places. */
const WEIGHTS: Partial<Record<Command[0], number>> = {
  ...{ work: 12, finish: 16, promote: 4, retry: 3, abort: 1 },
  ...{ spoil: 3, repair: 8 },
};
const names = Object.keys(COMMAND) as Command[0][];
const anyCommand: fc.Arbitrary<Command> = fc.tuple(
  fc.oneof(...names.map((name) => ({ arbitrary: fc.constant(name), weight: WEIGHTS[name] ?? 2 }))),
  fc.nat(20),
);

/** What the registry says must be so in the databases, once nobody is at work any more. */
async function requireTruth(fleet: ModelFleet): Promise<void> {
  const { rows } = await fleet.registry.query<{
    databaseId: string;
    tenant: string;
    tenantState: string;
    version: string | null;
    state: string | null;
    leftBehind: boolean;
    rollout: string | null;
  }>(
    `SELECT d.id AS "databaseId", n.slug AS tenant, n.state AS "tenantState", d.schema_version AS version, t.state,
            t.skipped_by IS NOT NULL AS "leftBehind", r.state AS rollout
       FROM tenants n JOIN databases d ON d.tenant_id = n.id
       LEFT JOIN rollout_targets t ON t.database_id = d.id LEFT JOIN rollouts r ON true`,
  );
  for (const { databaseId, tenant, tenantState, version, state, leftBehind, rollout } of rows) {
    const applied = fleet.isApplied(databaseId);
    if (version !== null) assert.ok(applied, `${tenant} is said to have the release`);
    if (state === 'verified') assert.ok(applied, `${tenant} is said to be verified`);
    assert.ok(state !== 'running' && state !== 'unknown', `${tenant} is ${state} though nobody is at work`);
    if (rollout !== 'succeeded' || tenantState !== 'active') continue;
    assert.ok(applied || leftBehind, `${tenant} is behind a rollout that has succeeded`);
    assert.ok(state !== 'failed' && state !== 'pending', `${tenant} is ${state} in one that has succeeded`);
  }
}

async function requireRest(fleet: ModelFleet): Promise<void> {
  await fleet.settle();
  assert.deepEqual(await fleet.breaches(), []);
  await requireTruth(fleet);
}

describe('rollout under any words, crashes and changes', () => {
  const fleets: ModelFleet[] = [];

  before(async () => {
    for (let count = 0; count < WORLDS; count += 1) fleets.push(await makeModelFleet());
  });
  after(() => Promise.all(fleets.map((fleet) => fleet.drop())));

  it('keeps its invariants', async function () {
    this.timeout(240_000);
    const runs = fleets.map((fleet, world) =>
      fc.assert(
        fc.asyncProperty(
          fc.oneof(fc.integer({ min: 2, max: 6 }), fc.integer({ min: 7, max: 14 })),
          fc.uniqueArray(fc.nat(13), { maxLength: 8 }),
          fc.array(anyCommand, { minLength: COMMANDS, maxLength: COMMANDS }),
          async (tenants, bad, commands) => {
            await fleet.reset(tenants);
            for (const nth of bad) fleet.spoil(nth, true);
            await fleet.start();
            for (const [name, nth] of commands) {
              await COMMAND[name](fleet, nth);
              assert.deepEqual(await fleet.breaches(), []);
            }
            await requireRest(fleet);
            // Whoever is on duty repairs one target after the other: a wave stays over its budget until the last.
            for (let turn = 0; turn < REPAIRS && (await fleet.failing(0)) !== undefined; turn += 1) {
              await COMMAND.repair(fleet, turn);
              await requireRest(fleet);
            }
          },
        ),
        {
          numRuns: Math.ceil(RUNS / WORLDS),
          seed: 20261121 + world,
          endOnFailure: true,
          includeErrorInReport: true,
        },
      ),
    );
    await Promise.all(runs);
  });
});
