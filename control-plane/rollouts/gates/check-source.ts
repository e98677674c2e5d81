import type { z } from 'zod';
import type { CheckGate } from '../../../contract/gate.ts';
import type { Reading } from './gate.ts';
import { combine, readCount } from './reading.ts';
import { readSchemas } from './schema-source.ts';
import { readBlockedSessions, readReplicationLag } from './server-source.ts';
import { askEach, type SourceDeps, type Subject } from './source.ts';
import { inReadOnlySession } from './sql-source.ts';

type Check = z.infer<typeof CheckGate>;

/** What the control plane looks at by itself. */
export async function readCheck(deps: SourceDeps, spec: Check, subject: Subject): Promise<Reading> {
  const { minSamples } = spec;
  switch (spec.check) {
    case 'schema':
      return combine(await readSchemas(deps, subject), { one: 'database', minSamples });
    case 'invalid_indexes':
      return combine(await invalidIndexes(deps, spec, subject), { one: 'database', minSamples });
    case 'blocked_sessions':
      return combine(await readBlockedSessions(deps, spec, subject), { one: 'database', minSamples });
    case 'replication_lag':
      return combine(await readReplicationLag(deps, spec, subject), { one: 'server', minSamples });
  }
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
