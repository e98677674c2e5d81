import { normalize } from 'libpg-query';
import type { ServerAccess } from '../servers/access.ts';
import type { Blocker, FindBlockers } from './contention.ts';

/**
 * Asks the server's admin whom a session waits for: the migrator itself may not look into others' sessions.
 * Prepared transactions (pid 0) are left out.
 */
export function findBlockers(servers: ServerAccess, serverId: string): FindBlockers {
  return async (pid) => {
    const rows = await servers.admin(serverId, async (client) => {
      const { rows } = await client.query<Blocker>(
        `SELECT pid, coalesce(application_name, '') AS "applicationName", coalesce(state, '') AS state,
                coalesce(extract(epoch FROM now() - xact_start), 0)::int AS seconds,
                coalesce(query, '') AS query
           FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids($1)) ORDER BY xact_start LIMIT $2`,
        [pid, MOST],
      );
      return rows;
    });
    return Promise.all(rows.map(async (row) => ({ ...row, query: await withoutValues(row.query) })));
  };
}

/** Three say enough in a message. */
const MOST = 3;
/** Characters; the server itself keeps 1,024 of a query. */
const QUERY_LENGTH = 200;

/** The literals in a query may be a tenant's data. What the parser refuses (a cut text) shows its first word. */
async function withoutValues(query: string): Promise<string> {
  const plain = await normalize(query).catch(() => `${/^\s*\w*/.exec(query)?.[0].trim() ?? ''} …`);
  const line = plain.replace(/\s+/g, ' ').trim();
  return line.length > QUERY_LENGTH ? `${line.slice(0, QUERY_LENGTH)} …` : line;
}
