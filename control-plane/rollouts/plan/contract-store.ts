import type { Queryable } from '../../../platform/pg.ts';

/** Contract migrations that targets of the rollout, or of one of its waves, still lack. */
export async function missingContractSteps(
  db: Queryable,
  rolloutId: string,
  wave: number | null,
): Promise<string[]> {
  const { rows } = await db.query<{ name: string }>(
    `SELECT m.name
       FROM (SELECT DISTINCT missing FROM rollout_targets
              WHERE rollout_id = $1 AND ($2::int IS NULL OR wave = $2)
                AND state NOT IN ('verified', 'skipped', 'undone')) AS t,
            jsonb_array_elements_text(t.missing) AS lacks (name)
       JOIN migrations m ON m.name = lacks.name AND m.phase = 'contract'
      GROUP BY m.name, m.ordinal ORDER BY m.ordinal`,
    [rolloutId, wave],
  );
  return rows.map(({ name }) => name);
}
