import type { Queryable } from '../../../platform/pg.ts';

/** What a backfill must not push a server beyond. */
export interface LoadLimits {
  /** Milliseconds that the slowest replica is behind. */
  replicationLagMs: number;
  /** Bytes of write-ahead log a second, everybody's. */
  walBytesPerSecond: number;
  /** Share of `max_connections` that are at work at once. */
  activeShare: number;
  /** Seconds that the longest transaction in the tenant's database has lasted. */
  transactionSeconds: number;
}

export const LOAD_LIMITS: LoadLimits = {
  /** gh-ost's default: reads from a replica notice more than that. */
  replicationLagMs: 1_500,
  /** Half of what a gp3 volume writes unless it is paid to do more; the other half is the data files'. */
  walBytesPerSecond: 64 * 1_024 * 1_024,
  /** Few servers have a core for every fourth of their connections: beyond that sessions queue for the processor. */
  activeShare: 0.25,
  /** Vacuum cannot clear away what the backfill leaves behind while somebody still sees it: five minutes of it. */
  transactionSeconds: 300,
};

/** What a server says of itself. */
export interface Load {
  replicationLagMs: number;
  /** Position in the write-ahead log, in bytes. */
  walBytes: number;
  activeSessions: number;
  maxConnections: number;
  /** Seconds; 0 for none. */
  longestTransaction: number;
  /** Milliseconds of the server's clock. */
  at: number;
}

/** Asks the server's admin; backfills' own sessions are not counted. */
export async function readLoad(client: Queryable, database: string): Promise<Load> {
  const { rows } = await client.query<Load>(
    `SELECT coalesce((SELECT extract(epoch FROM max(replay_lag)) * 1000 FROM pg_stat_replication), 0)::float8
              AS "replicationLagMs",
            (pg_current_wal_lsn() - '0/0')::float8 AS "walBytes",
            (SELECT count(*) FROM pg_stat_activity
              WHERE state = 'active' AND backend_type = 'client backend' AND pid <> pg_backend_pid()
                AND application_name NOT LIKE 'fleet:%')::int AS "activeSessions",
            current_setting('max_connections')::int AS "maxConnections",
            (SELECT coalesce(extract(epoch FROM max(now() - xact_start)), 0) FROM pg_stat_activity
              WHERE datname = $1 AND backend_type = 'client backend' AND application_name NOT LIKE 'fleet:%')::float8
              AS "longestTransaction",
            (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS at`,
    [database],
  );
  const [load] = rows;
  if (load === undefined) throw new Error('the server has not answered');
  return load;
}

/** Too short a time to tell a rate by, in milliseconds. */
const LEAST_SPAN_MS = 100;

/** Why a backfill may not run on a server with this load; null where it may. Pure. */
export function overload(load: Load, before: Load | undefined, limits: LoadLimits): string | null {
  if (load.replicationLagMs > limits.replicationLagMs) {
    return `a replica is ${seconds(load.replicationLagMs / 1_000)} behind (limit ${seconds(limits.replicationLagMs / 1_000)})`;
  }
  const spanMs = before === undefined ? 0 : load.at - before.at;
  const rate = spanMs < LEAST_SPAN_MS ? 0 : ((load.walBytes - (before?.walBytes ?? 0)) / spanMs) * 1_000;
  if (rate > limits.walBytesPerSecond) {
    return `the server writes ${mebibytes(rate)} of write-ahead log a second (limit ${mebibytes(limits.walBytesPerSecond)})`;
  }
  const sessions = Math.max(1, Math.floor(load.maxConnections * limits.activeShare));
  if (load.activeSessions > sessions) {
    return `${load.activeSessions} sessions are at work on the server (limit ${sessions})`;
  }
  if (load.longestTransaction > limits.transactionSeconds) {
    return `a transaction has been open in the database for ${seconds(load.longestTransaction)} (limit ${seconds(limits.transactionSeconds)})`;
  }
  return null;
}

function seconds(value: number): string {
  return `${Math.round(value * 10) / 10} s`;
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 1_024 / 1_024)} MiB`;
}
