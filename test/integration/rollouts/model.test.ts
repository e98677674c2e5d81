import assert from 'node:assert/strict';
import fc from 'fast-check';
import { approveRollout } from '../../../control-plane/rollouts/verbs/approve.ts';
import { promoteRollout } from '../../../control-plane/rollouts/verbs/promote.ts';
import { abortRollout } from '../../../control-plane/rollouts/verbs/abort.ts';
import { pauseRollout, resumeRollout } from '../../../control-plane/rollouts/verbs/pause.ts';
import { retryRollout } from '../../../control-plane/rollouts/verbs/retry.ts';
import { skipTarget } from '../../../control-plane/rollouts/verbs/skip.ts';
import { FleetError } from '../../../platform/errors.ts';
import { sized } from '../../support/full-size.ts';
import { MIGRATIONS, versionOf } from './model-database.ts';
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
const LONGEST = 45;
/** Targets repaired after that, one by one: with the budgets of the model a halt seldom leaves more. */
const REPAIRS = 3;

/** Refusals are answers: 403, 404, 409. Anything else that is thrown is a fault. */
async function refusable(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof FleetError) || error.status >= 500) throw error;
  }
}

function say(
  fleet: ModelFleet,
  verb: (tx: never, id: string, asker: never) => Promise<unknown>,
  more = {},
): Promise<void> {
  return refusable(() =>
    fleet.registry.transaction((tx) => verb(tx as never, fleet.id(), { ...ASKER, ...more } as never)),
  );
}

type Command = [name: keyof typeof COMMAND, nth: number];

const COMMAND = {
  start: (fleet: ModelFleet) => refusable(() => fleet.start()),
  queue: (fleet: ModelFleet) => refusable(() => fleet.start({ queue: true })),
  supersede: (fleet: ModelFleet) => refusable(() => fleet.start({ supersede: fleet.id() })),
  undo: (fleet: ModelFleet, nth: number) => refusable(() => fleet.undo(fleet.id(nth % 3))),
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
  crash: (fleet: ModelFleet, nth: number) => fleet.crash(nth),
  cutOff: (fleet: ModelFleet) => fleet.cutOff(),
  haunt: async (fleet: ModelFleet) => fleet.haunt(),
  breakServer: async (fleet: ModelFleet, nth: number) => fleet.breakServer(nth),
  mendServer: (fleet: ModelFleet, nth: number) => fleet.mendServer(nth),
  giveUpServers: (fleet: ModelFleet) => fleet.giveUpServers(),
  spoil: async (fleet: ModelFleet, nth: number) => fleet.spoil(nth, true),
  mend: async (fleet: ModelFleet, nth: number) => fleet.spoil(nth, false),
  create: (fleet: ModelFleet) => fleet.addTenant(),
  suspend: (fleet: ModelFleet, nth: number) => fleet.setTenantState(nth, 'suspended'),
  comeBack: (fleet: ModelFleet, nth: number) => fleet.setTenantState(nth, 'active'),
  remove: (fleet: ModelFleet, nth: number) => fleet.setTenantState(nth, 'offboarding'),
};

/** Failures, and words about them, are what budgets are for: few rollouts are aborted, many fail in several places. */
const WEIGHTS: Partial<Record<Command[0], number>> = {
  ...{ work: 14, finish: 20, promote: 4, retry: 4, undo: 3, mendServer: 4 },
  ...{ spoil: 3, repair: 8 },
  ...{ abort: 1, remove: 1, breakServer: 1, giveUpServers: 1, queue: 1, start: 1 },
};
const names = Object.keys(COMMAND) as Command[0][];
const anyCommand: fc.Arbitrary<Command> = fc.tuple(
  fc.oneof(...names.map((name) => ({ arbitrary: fc.constant(name), weight: WEIGHTS[name] ?? 2 }))),
  fc.nat(20),
);
/** What chance alone seldom says in a row: stories that end with something half done. */
const STORIES: Command[0][][] = [
  ['work', 'abort', 'finish', 'finish', 'work', 'undo'],
  ['promote', 'work', 'finish', 'finish', 'finish', 'undo', 'work', 'spoil', 'finish', 'abort', 'work'],
  ['work', 'cutOff', 'breakServer', 'work', 'mendServer', 'haunt', 'work'],
  ['work', 'breakServer', 'finish', 'finish', 'giveUpServers', 'work', 'mendServer', 'retry', 'work'],
  ['promote', 'work', 'finish', 'finish', 'finish', 'undo', 'work', 'crash', 'breakServer', 'work', 'abort'],
  ['work', 'crash', 'breakServer', 'work', 'mendServer', 'supersede', 'work'],
];
const anyStory: fc.Arbitrary<Command[]> = fc
  .tuple(fc.constantFrom(...STORIES), fc.nat(20))
  .map(([story, nth]) => story.map((name) => [name, nth]));
const anyRun: fc.Arbitrary<Command[]> = fc
  .array(
    fc.oneof({ arbitrary: anyCommand.map((one) => [one]), weight: 9 }, { arbitrary: anyStory, weight: 1 }),
    {
      minLength: COMMANDS,
      maxLength: COMMANDS,
    },
  )
  .map((parts) => parts.flat().slice(0, LONGEST));

/** What the registry says must be so in the databases, once nobody is at work any more. */
async function requireTruth(fleet: ModelFleet): Promise<void> {
  const { rows } = await fleet.registry.query<{
    databaseId: string;
    tenant: string;
    version: string | null;
    states: string[];
  }>(
    `SELECT d.id AS "databaseId", n.slug AS tenant, d.schema_version AS version,
            array(SELECT t.state FROM rollout_targets t WHERE t.database_id = d.id) AS states
       FROM tenants n JOIN databases d ON d.tenant_id = n.id WHERE n.state IN ('active', 'suspended')`,
  );
  for (const { databaseId, tenant, version, states } of rows) {
    const has = versionOf(fleet.database(databaseId));
    // Of one that could not be asked, the registry has what is there for sure.
    if (fleet.isLost(databaseId))
      assert.ok(ordinal(version) <= ordinal(has), `${tenant} is said to be at ${version}, and is at ${has}`);
    else assert.equal(version, has, `where ${tenant} is`);
    for (const state of states) {
      assert.ok(state !== 'running' && state !== 'unknown', `${tenant} is ${state} though nobody is at work`);
    }
  }
  const { rows: stranded } = await fleet.registry.query(
    `SELECT 1 FROM rollout_targets t JOIN rollout_waves w ON w.rollout_id = t.rollout_id AND w.ordinal = t.wave
      WHERE t.state = 'pending' AND w.state IN ('passed', 'baking', 'gating')`,
  );
  assert.equal(stranded.length, 0, 'targets wait in a wave that runs none any more');
  await requireOutcome(fleet);
}

const ordinal = (version: string | null): number => MIGRATIONS.findIndex(({ name }) => name === version);

/** What the last rollout says of its targets, and of the fleet. */
async function requireOutcome(fleet: ModelFleet): Promise<void> {
  const { rows } = await fleet.registry.query<{
    databaseId: string;
    tenant: string;
    tenantState: string;
    state: string | null;
    leftBehind: boolean;
    rollout: string;
    undoOf: string | null;
  }>(
    `SELECT d.id AS "databaseId", n.slug AS tenant, n.state AS "tenantState", t.state, r.state AS rollout,
            t.skipped_by IS NOT NULL AS "leftBehind", r.undo_of AS "undoOf"
       FROM (SELECT * FROM rollouts WHERE started_at IS NOT NULL ORDER BY started_at DESC LIMIT 1) r
       CROSS JOIN tenants n JOIN databases d ON d.tenant_id = n.id
       LEFT JOIN rollout_targets t ON t.database_id = d.id AND t.rollout_id = r.id`,
  );
  for (const { databaseId, tenant, tenantState, state, leftBehind, rollout, undoOf } of rows) {
    const { applied, appliedBy } = fleet.database(databaseId);
    const isThere = applied.length === MIGRATIONS.length;
    const isOf = [...appliedBy.values()].some((name) => name.split(':')[1] === undoOf);
    if (state === 'verified')
      assert.ok(undoOf === null ? isThere : !isOf, `${tenant} is said to be verified`);
    if (rollout !== 'succeeded' || tenantState !== 'active') continue;
    assert.ok(state !== 'failed' && state !== 'pending', `${tenant} is ${state} in one that has succeeded`);
    if (undoOf !== null)
      assert.ok(!isOf || leftBehind, `${tenant} has something of a rollout that was undone`);
    else assert.ok(isThere || leftBehind, `${tenant} is behind a rollout that has succeeded`);
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
    this.timeout(sized(240_000, 900_000));
    const runs = fleets.map((fleet, world) =>
      fc.assert(
        fc.asyncProperty(
          fc.oneof(fc.integer({ min: 2, max: 6 }), fc.integer({ min: 7, max: 14 })),
          fc.uniqueArray(fc.nat(13), { maxLength: 8 }),
          anyRun,
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
