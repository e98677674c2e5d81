import { compareLive } from '../../drift/compare.ts';
import { lazyReferences, type References } from '../../drift/reference.ts';
import { targetsById } from '../../drift/store.ts';
import { readLiveSchema, type LiveSchema } from '../../releases/schema-live.ts';
import type { Reading } from './gate.ts';
import { noData } from './reading.ts';
import { askEach, type SourceDeps, type Subject } from './source.ts';
import { GATE_APPLICATION } from './sql-source.ts';
import type { GateTarget } from './store.ts';

/**
 * Each schema has to be the canary's: the same migrations must have made the same of it. Where a person has accepted
 * that one of the two differs, what the migrations make by themselves is the judge, and just that difference is left
 * out of account.
 */
export async function readSchemas(deps: SourceDeps, subject: Subject): Promise<Reading[]> {
  const canaries = new Map<number | null, Promise<LiveSchema | undefined>>();
  const read = async (target: GateTarget): Promise<LiveSchema | undefined> => {
    const address = await deps.servers.migrator(target.serverId, target);
    const request = { applicationName: GATE_APPLICATION, roles: target, signal: subject.signal };
    return readLiveSchema(address, request);
  };
  const readCanary = (canary: GateTarget): Promise<LiveSchema | undefined> => {
    const asked = canaries.get(canary.serverMajor) ?? read(canary);
    canaries.set(canary.serverMajor, asked);
    return asked;
  };
  const references = lazyReferences(deps);
  return askEach(deps, subject, subject.targets, async (target) => {
    const canary = findCanary(subject, target) ?? target;
    const [expected, found] = await Promise.all([readCanary(canary), read(target)]);
    if (expected === undefined || found === undefined) return noData('a migration is under way');
    if (expected.schema.fingerprint === found.schema.fingerprint) return good("the schema is the canary's");
    if (await isAccepted(deps, { target, canary, found, references })) {
      return good('the schema is what its migrations make, but for what was accepted');
    }
    return { outcome: 'failure', value: null, samples: 1, message: "the schema is not the canary's" };
  });
}

/** Asked only where something was accepted: what migrations make is found out on a scratch database once. */
async function isAccepted(
  deps: SourceDeps,
  of: {
    target: GateTarget;
    canary: GateTarget;
    found: LiveSchema;
    references: () => Promise<References>;
  },
): Promise<boolean> {
  const known = await targetsById(deps.registry, [of.target.databaseId, of.canary.databaseId]);
  const own = known.find(({ databaseId }) => databaseId === of.target.databaseId);
  if (own === undefined || known.every(({ accepted }) => accepted === null)) return false;
  const { comparison } = await compareLive(own, of.found, await of.references());
  return comparison.verdict !== 'drifted';
}

function good(message: string): Reading {
  return { outcome: 'success', value: null, samples: 1, message };
}

/** The words of a schema differ between major versions of PostgreSQL, so that each has a canary of its own. */
export function findCanary(subject: Subject, target: GateTarget): GateTarget | undefined {
  return subject.canaries.find((canary) => canary.serverMajor === target.serverMajor);
}
