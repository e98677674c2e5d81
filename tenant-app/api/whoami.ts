import type { Request, Response } from 'express';
import type { Queryable } from '../../platform/pg.ts';

/** `GET /api/v1/whoami`. Database and schema version are asked from the database itself, never from the route. */
export async function whoami(request: Request, response: Response): Promise<void> {
  const { tenant } = request;
  const found = await askDatabase(tenant);
  response.json({ tenant: tenant.slug, region: tenant.region, ...found });
}

async function askDatabase(db: Queryable): Promise<{ database: string; schemaVersion: string | null }> {
  const { rows } = await db.query<{ database: string; schemaVersion: string | null }>(
    `SELECT current_database() AS database,
            (SELECT name FROM pgmigrations ORDER BY id DESC LIMIT 1) AS "schemaVersion"`,
  );
  const row = rows[0];
  if (row === undefined) throw new Error('a SELECT without FROM returned no row');
  return row;
}
