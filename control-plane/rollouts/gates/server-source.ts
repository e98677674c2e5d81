import { MIGRATORS_LIKE } from '../../servers/migrator.ts';
import type { Reading } from './gate.ts';
import { noAnswer, outOf, readCount } from './reading.ts';
import { codeOf, type SourceDeps, type Subject } from './source.ts';
import type { GateTarget } from './store.ts';

/**
 * Seconds. A replica of a busy server is a second or two behind; ten say that replaying the migration holds it up, and
 * that reads from it are stale.
 */
export const REPLICATION_LAG_MAX_S = 10;

/** Waits shorter than this are everyday life between transactions, in seconds. */
const BLOCKED_S = 1;

/** By database; the migrators' own waits are not the tenants'. One question to each server. */
export async function readBlockedSessions(
  deps: SourceDeps,
  spec: { max?: number | undefined },
  subject: Subject,
): Promise<Reading[]> {
  const servers = byServer(subject.touched);
  const parts = await Promise.all(
    [...servers].map(async ([serverId, targets]): Promise<Reading[]> => {
      try {
        const counts = await deps.servers.admin(serverId, async (client) => {
          const { rows } = await client.query<{ database: string; count: number }>(
            `SELECT a.datname AS database, count(DISTINCT a.pid)::int AS count
               FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
              WHERE NOT l.granted AND l.waitstart < clock_timestamp() - $1 * interval '1 second'
                AND a.datname = ANY ($2) AND a.usename NOT LIKE $3
              GROUP BY a.datname`,
            [BLOCKED_S, targets.map(({ database }) => database), MIGRATORS_LIKE],
          );
          return new Map(rows.map(({ database, count }) => [database, count]));
        });
        return targets.map(({ database, tenant }) => ({
          ...readCount(counts.get(database) ?? 0, spec, 'blocked sessions'),
          tenant,
        }));
      } catch (error) {
        return serverSilent(deps, error, targets);
      }
    }),
  );
  return parts.flat();
}

interface Lag {
  replicas: number;
  /** Of those whose state the admin may not see. */
  hidden: number;
  seconds: number;
}

/** Of the slowest replica of each server. */
export function readReplicationLag(
  deps: SourceDeps,
  spec: { max?: number | undefined },
  subject: Subject,
): Promise<Reading[]> {
  return Promise.all(
    [...byServer(subject.touched)].map(async ([serverId, targets]): Promise<Reading> => {
      try {
        const lag = await deps.servers.admin(serverId, async (client) => {
          // Without anything to replay there is no lag, which PostgreSQL shows as NULL.
          const { rows } = await client.query<Lag>(
            `SELECT count(*)::int AS replicas, (count(*) FILTER (WHERE state IS NULL))::int AS hidden,
                    coalesce(extract(epoch FROM max(replay_lag)), 0)::float8 AS seconds
               FROM pg_stat_replication WHERE state IS NULL OR state IN ('streaming', 'catchup')`,
          );
          return rows[0] ?? { replicas: 0, hidden: 0, seconds: 0 };
        });
        return readLag(lag, spec.max ?? REPLICATION_LAG_MAX_S);
      } catch (error) {
        const [part] = serverSilent(deps, error, targets);
        return { ...(part ?? noAnswer('no answer')), tenant: undefined };
      }
    }),
  );
}

function readLag(lag: Lag, max: number): Reading {
  if (lag.hidden > 0) return noAnswer('the admin may not see replication: grant it pg_monitor');
  if (lag.replicas === 0) return { outcome: 'success', value: 0, samples: 1, message: 'no replicas' };
  const reason = outOf(lag.seconds, { max });
  const message = reason === undefined ? 'replicas keep up' : `the lag is ${reason} s`;
  return { outcome: reason === undefined ? 'success' : 'failure', value: lag.seconds, samples: 1, message };
}

function serverSilent(deps: SourceDeps, error: unknown, targets: readonly GateTarget[]): Reading[] {
  const server = targets[0]?.server;
  deps.logger.warn('a gate got no answer from a server', { server, error });
  return targets.map(({ tenant }) => ({ ...noAnswer(`no answer: ${codeOf(error)}`), tenant }));
}

function byServer(targets: readonly GateTarget[]): Map<string, GateTarget[]> {
  const servers = new Map<string, GateTarget[]>();
  for (const target of targets) {
    const known = servers.get(target.serverId);
    if (known === undefined) servers.set(target.serverId, [target]);
    else known.push(target);
  }
  return servers;
}
