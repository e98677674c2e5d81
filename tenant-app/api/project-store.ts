import type { Queryable } from '../../platform/pg.ts';
import { pageOfRows, type Position } from './cursor.ts';
import type { CreateProject, Project, UpdateProject } from './project.ts';

interface ProjectRow {
  id: string;
  name: string;
  description: string | null;
  archived: boolean;
  version: number;
  created_at: Date;
  updated_at: Date;
  cursor_at: string;
}

const COLUMNS =
  'id, name, description, archived, version, created_at, updated_at, created_at::text AS cursor_at';

function fromRow(row: ProjectRow): Project {
  return {
    id: row.id,
    name: row.name,
    description: row.description,
    archived: row.archived,
    version: row.version,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}

/** Oldest first. */
export async function listProjects(db: Queryable, after: Position | undefined, limit: number) {
  const { rows } =
    after === undefined
      ? await db.query<ProjectRow>(`SELECT ${COLUMNS} FROM projects ORDER BY created_at, id LIMIT $1`, [
          limit + 1,
        ])
      : await db.query<ProjectRow>(
          `SELECT ${COLUMNS} FROM projects WHERE (created_at, id) > ($2::timestamptz, $3::uuid)
            ORDER BY created_at, id LIMIT $1`,
          [limit + 1, after.at, after.id],
        );
  return pageOfRows(rows, limit, fromRow);
}

/** The project, if there is one. */
export async function findProject(db: Queryable, id: string): Promise<Project | undefined> {
  const { rows } = await db.query<ProjectRow>(`SELECT ${COLUMNS} FROM projects WHERE id = $1`, [id]);
  return rows[0] === undefined ? undefined : fromRow(rows[0]);
}

/** Stores a new project, and answers it as it stands. */
export async function insertProject(db: Queryable, project: CreateProject): Promise<Project> {
  const { rows } = await db.query<ProjectRow>(
    `INSERT INTO projects (name, description) VALUES ($1, $2) RETURNING ${COLUMNS}`,
    [project.name, project.description],
  );
  return only(rows.map(fromRow));
}

/** Undefined when there is no such project at `version` (any version when that is undefined). */
export async function updateProject(
  db: Queryable,
  id: string,
  version: number | undefined,
  change: UpdateProject,
): Promise<Project | undefined> {
  const { rows } = await db.query<ProjectRow>(
    `UPDATE projects
        SET name = coalesce($3, name), description = CASE WHEN $4 THEN $5 ELSE description END,
            archived = coalesce($6, archived), version = version + 1, updated_at = now()
      WHERE id = $1 AND ($2::integer IS NULL OR version = $2) RETURNING ${COLUMNS}`,
    [
      id,
      version ?? null,
      change.name ?? null,
      change.description !== undefined,
      change.description ?? null,
      change.archived ?? null,
    ],
  );
  return rows[0] === undefined ? undefined : fromRow(rows[0]);
}

/** Deletes the project, of this version where one is given. False when there is none such. */
export async function deleteProject(db: Queryable, id: string, version: number | undefined) {
  const { rowCount } = await db.query(
    'DELETE FROM projects WHERE id = $1 AND ($2::integer IS NULL OR version = $2)',
    [id, version ?? null],
  );
  return rowCount === 1;
}

function only<T>(items: T[]): T {
  const [item] = items;
  if (item === undefined) throw new Error('an INSERT returned no row');
  return item;
}
