import type { Queryable } from '../../platform/pg.ts';

/** SQL of servers, as far as references can be made on them. */
export interface Place {
  serverId: string;
  server: string;
  serverMajor: number;
}

/** The servers, those that answer first, and among them those with the most databases; `only` null means all. */
export async function referencePlaces(db: Queryable, only: readonly string[] | null): Promise<Place[]> {
  const { rows } = await db.query<Place>(
    `SELECT s.id AS "serverId", s.name AS server, s.server_version / 10000 AS "serverMajor"
       FROM servers s
      WHERE s.state NOT IN ('provisioning', 'retired') AND s.server_version IS NOT NULL
        AND ($1::uuid[] IS NULL OR s.id = ANY ($1))
      ORDER BY s.reachable IS NOT FALSE DESC,
               (SELECT count(*) FROM databases d WHERE d.server_id = s.id AND d.state = 'ready') DESC, s.name`,
    [only],
  );
  return rows;
}
