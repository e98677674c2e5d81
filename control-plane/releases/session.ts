import { withClient, type PgAddress, type PgClient } from '../../platform/pg.ts';

/**
 * 2 s: DDL that waits for its lock queues in front of the tenant's own queries, so this bounds the outage,
 * not only the migration.
 */
export const LOCK_TIMEOUT_MS = 2_000;
/** For each statement: it may hold an exclusive lock for all that time; longer ones must say so. */
export const STATEMENT_TIMEOUT_MS = 60_000;
/**
 * Statements that run CONCURRENTLY wait for every older transaction without blocking anybody, so their lock
 * waits are not limited (0); an hour in all is enough for an index of a few hundred GB.
 */
export const CONCURRENT_LOCK_TIMEOUT_MS = 0;
export const CONCURRENT_STATEMENT_TIMEOUT_MS = 3_600_000;

/**
 * Ends the name of a session while a statement outside a transaction is under way: who aborts lets that one end, as
 * cancelling it would leave half of it behind.
 */
export const OUTSIDE = ':outside';

/** Our migrations' search path: what node-pg-migrate's default finds, and nothing before it. */
export const SEARCH_PATH = 'public, pg_temp';

const SETTINGS: Record<string, string> = {
  lock_timeout: String(LOCK_TIMEOUT_MS),
  statement_timeout: String(STATEMENT_TIMEOUT_MS),
  // A worker that stops between two statements must not hold locks for longer than this.
  idle_in_transaction_session_timeout: '30s',
  // A statement whose worker was killed ends after half a second instead of running on with its lock.
  client_connection_check_interval: '500',
  TimeZone: 'UTC',
  search_path: SEARCH_PATH,
};

/**
 * Runs `work` as `ownerRole` on a connection of its own, which is always closed and never used again. When `signal` fires,
 * the connection is cut; the server then ends the statement under way.
 */
export async function withMigrationSession<T>(
  address: PgAddress,
  session: { applicationName: string; ownerRole: string; signal?: AbortSignal | undefined },
  work: (client: PgClient) => Promise<T>,
): Promise<T> {
  const { applicationName, ownerRole, signal } = session;
  const settings = { ...SETTINGS, role: ownerRole };
  signal?.throwIfAborted();
  return withClient(address, { applicationName, settings }, async (client) => {
    // With a query under way the driver's end() cuts the socket; errors of that reach the query itself.
    const cut = (): void => void client.end().catch(() => undefined);
    signal?.addEventListener('abort', cut, { once: true });
    try {
      return await work(client);
    } finally {
      signal?.removeEventListener('abort', cut);
    }
  });
}
