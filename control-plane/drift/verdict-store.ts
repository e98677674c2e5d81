import type { Queryable } from '../../platform/pg.ts';

/** What the last look at each live tenant's database said. */
export interface Verdicts {
  same: number;
  drifted: number;
  accepted: number;
  /** Never looked at. */
  unchecked: number;
}

export async function countVerdicts(db: Queryable): Promise<Verdicts> {
  const { rows } = await db.query<Verdicts>(
    `SELECT (count(*) FILTER (WHERE d.database_id IS NOT NULL AND d.difference IS NULL))::int AS same,
            (count(*) FILTER (WHERE d.difference IS DISTINCT FROM d.accepted_difference
                               AND d.difference IS NOT NULL))::int AS drifted,
            (count(*) FILTER (WHERE d.difference = d.accepted_difference))::int AS accepted,
            (count(*) FILTER (WHERE d.database_id IS NULL))::int AS unchecked
       FROM databases b
       JOIN tenants t ON t.id = b.tenant_id AND t.state IN ('active', 'suspended')
       LEFT JOIN database_drift d ON d.database_id = b.id
      WHERE b.state = 'ready'`,
  );
  return rows[0] ?? { same: 0, drifted: 0, accepted: 0, unchecked: 0 };
}
