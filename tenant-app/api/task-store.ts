import type { Queryable } from '../../platform/pg.ts';
import { pageOfRows, type Position } from './cursor.ts';
import type { CreateTask, Task, UpdateTask } from './task.ts';

interface TaskRow {
  id: string;
  project_id: string;
  title: string;
  done: boolean;
  due_on: string | null;
  version: number;
  created_at: Date;
  updated_at: Date;
  cursor_at: string;
}

// A date as text: the driver would make it midnight in this process's own time zone.
const COLUMNS = `id, project_id, title, done, due_on::text AS due_on, version, created_at, updated_at,
  created_at::text AS cursor_at`;

function fromRow(row: TaskRow): Task {
  return {
    id: row.id,
    projectId: row.project_id,
    title: row.title,
    done: row.done,
    dueOn: row.due_on,
    version: row.version,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}

/** Oldest first. */
export async function listTasks(
  db: Queryable,
  projectId: string,
  after: Position | undefined,
  limit: number,
) {
  const { rows } = await db.query<TaskRow>(
    `SELECT ${COLUMNS} FROM tasks
      WHERE project_id = $1 AND (created_at, id) > ($3::timestamptz, $4::uuid)
      ORDER BY created_at, id LIMIT $2`,
    [projectId, limit + 1, after?.at ?? '-infinity', after?.id ?? '00000000-0000-0000-0000-000000000000'],
  );
  return pageOfRows(rows, limit, fromRow);
}

/** The task, if this project has it. */
export async function findTask(db: Queryable, projectId: string, id: string): Promise<Task | undefined> {
  const { rows } = await db.query<TaskRow>(`SELECT ${COLUMNS} FROM tasks WHERE project_id = $1 AND id = $2`, [
    projectId,
    id,
  ]);
  return rows[0] === undefined ? undefined : fromRow(rows[0]);
}

/** In the order given, in one statement. @throws SQLSTATE 23503 when there is no such project. */
export async function insertTasks(db: Queryable, projectId: string, tasks: CreateTask[]): Promise<Task[]> {
  const { rows } = await db.query<TaskRow>(
    `INSERT INTO tasks (project_id, title, done, due_on)
     SELECT $1, t.title, t.done, t.due_on
       FROM unnest($2::text[], $3::boolean[], $4::date[]) WITH ORDINALITY AS t (title, done, due_on, place)
      ORDER BY t.place
     RETURNING ${COLUMNS}`,
    [projectId, tasks.map((t) => t.title), tasks.map((t) => t.done), tasks.map((t) => t.dueOn)],
  );
  return rows.map(fromRow);
}

/** Undefined when there is no such task at `version` (any version when that is undefined). */
export async function updateTask(
  db: Queryable,
  key: { projectId: string; id: string },
  version: number | undefined,
  change: UpdateTask,
): Promise<Task | undefined> {
  const { rows } = await db.query<TaskRow>(
    `UPDATE tasks
        SET title = coalesce($4, title), done = coalesce($5, done),
            due_on = CASE WHEN $6 THEN $7::date ELSE due_on END, version = version + 1, updated_at = now()
      WHERE project_id = $1 AND id = $2 AND ($3::integer IS NULL OR version = $3) RETURNING ${COLUMNS}`,
    [
      key.projectId,
      key.id,
      version ?? null,
      change.title ?? null,
      change.done ?? null,
      change.dueOn !== undefined,
      change.dueOn ?? null,
    ],
  );
  return rows[0] === undefined ? undefined : fromRow(rows[0]);
}

/** Deletes the task, of this version where one is given. False when the project has none such. */
export async function deleteTask(
  db: Queryable,
  key: { projectId: string; id: string },
  version: number | undefined,
): Promise<boolean> {
  const { rowCount } = await db.query(
    'DELETE FROM tasks WHERE project_id = $1 AND id = $2 AND ($3::integer IS NULL OR version = $3)',
    [key.projectId, key.id, version ?? null],
  );
  return rowCount === 1;
}
