import type { z } from 'zod';
import type { CheckGate } from '../../../contract/gate.ts';
import { readLiveSchema } from '../../releases/schema-live.ts';
import type { Reading } from './gate.ts';
import { combine, noData, readCount } from './reading.ts';
import { readBlockedSessions, readReplicationLag } from './server-source.ts';
import { askEach, type SourceDeps, type Subject } from './source.ts';
import { GATE_APPLICATION, inReadOnlySession } from './sql-source.ts';
import type { GateTarget } from './store.ts';

type Check = z.infer<typeof CheckGate>;

/** What the control plane looks at by itself. */
export async function readCheck(deps: SourceDeps, spec: Check, subject: Subject): Promise<Reading> {
  const { minSamples } = spec;
  switch (spec.check) {
    case 'schema':
      return combine(await schemas(deps, subject), { one: 'database', minSamples });
    case 'invalid_indexes':
      return combine(await invalidIndexes(deps, spec, subject), { one: 'database', minSamples });
    case 'blocked_sessions':
      return combine(await readBlockedSessions(deps, spec, subject), { one: 'database', minSamples });
    case 'replication_lag':
      return combine(await readReplicationLag(deps, spec, subject), { one: 'server', minSamples });
  }
}

/** Each schema has to be the canary's: the same migrations must have made the same of it. */
async function schemas(deps: SourceDeps, subject: Subject): Promise<Reading[]> {
  const fingerprints = new Map<number | null, Promise<string | undefined>>();
  const fingerprintOf = async (target: GateTarget): Promise<string | undefined> => {
    const address = await deps.servers.migrator(target.serverId, target.database);
    const request = { applicationName: GATE_APPLICATION, roles: target, signal: subject.signal };
    return (await readLiveSchema(address, request))?.schema.fingerprint;
  };
  const canaryOf = (target: GateTarget): Promise<string | undefined> => {
    const asked =
      fingerprints.get(target.serverMajor) ?? fingerprintOf(findCanary(subject, target) ?? target);
    fingerprints.set(target.serverMajor, asked);
    return asked;
  };
  return askEach(deps, subject, subject.targets, async (target) => {
    const [canary, found] = await Promise.all([canaryOf(target), fingerprintOf(target)]);
    if (canary === undefined || found === undefined) return noData('a migration is under way');
    return canary === found
      ? { outcome: 'success', value: null, samples: 1, message: "the schema is the canary's" }
      : { outcome: 'failure', value: null, samples: 1, message: "the schema is not the canary's" };
  });
}

/** The words of a schema differ between major versions of PostgreSQL, so that each has a canary of its own. */
export function findCanary(subject: Subject, target: GateTarget): GateTarget | undefined {
  return subject.canaries.find((canary) => canary.serverMajor === target.serverMajor);
}

/** What a CREATE INDEX CONCURRENTLY leaves that has failed: it costs every write and serves no read. */
function invalidIndexes(deps: SourceDeps, spec: Check, subject: Subject): Promise<Reading[]> {
  return askEach(deps, subject, subject.targets, (target) =>
    inReadOnlySession(deps, target, subject.signal, async (client) => {
      const { rows } = await client.query<{ count: number }>(
        `SELECT count(*)::int AS count FROM pg_index i
           JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE NOT i.indisvalid AND n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema')`,
      );
      return readCount(rows[0]?.count ?? null, spec, 'invalid indexes');
    }),
  );
}
