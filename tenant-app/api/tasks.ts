import express, { type Request, type Response } from 'express';
import { PageQuery } from '../../contract/page.ts';
import { SQLSTATE, sqlState } from '../../platform/errors.ts';
import type { Queryable } from '../../platform/pg.ts';
import { readCursor } from './cursor.ts';
import { endpoint } from './endpoint.ts';
import { idempotently } from './idempotency.ts';
import { changeMissed, notFound, parseInput, readId, readIfMatch, sendVersioned } from './input.ts';
import { findProject } from './project-store.ts';
import { CreateTasks, UpdateTask, type Task } from './task.ts';
import { deleteTask, findTask, insertTasks, listTasks, updateTask } from './task-store.ts';

/** `/api/v1/projects/{projectId}/tasks`. */
export function tasksRouter(): express.Router {
  const router = express.Router({ mergeParams: true });
  endpoint(router, '/', { get: list, post: create });
  endpoint(router, '/:taskId', { get, patch: update, delete: remove });
  return router;
}

function keyOf(request: Request) {
  return { projectId: readId(request, 'projectId', 'project'), id: readId(request, 'taskId', 'task') };
}

async function list(request: Request, response: Response): Promise<void> {
  const projectId = readId(request, 'projectId', 'project');
  const query = parseInput(PageQuery, request.query);
  const page = await listTasks(request.tenant, projectId, readCursor(query.cursor), query.limit);
  // Only an empty first page leaves open whether the project exists.
  if (page.items.length === 0 && (await findProject(request.tenant, projectId)) === undefined) {
    throw notFound('project');
  }
  response.json(page);
}

/** One task → that task; an array → `{items}`, made all or none. */
async function create(request: Request, response: Response): Promise<void> {
  const projectId = readId(request, 'projectId', 'project');
  const input = parseInput(CreateTasks, request.body);
  const isBulk = Array.isArray(input);
  const answer = await idempotently(request, async (tx) => {
    const tasks = await insertInto(tx, projectId, isBulk ? input : [input]);
    return { status: 201, body: isBulk ? { items: tasks } : tasks[0] };
  });
  if (answer.isReplayed) response.setHeader('Idempotency-Replayed', 'true');
  response.status(answer.status);
  if (isBulk) {
    response.json(answer.body);
    return;
  }
  const task = answer.body as Task;
  response.setHeader('Location', `/api/v1/projects/${projectId}/tasks/${task.id}`);
  sendVersioned(response, task);
}

async function insertInto(tx: Queryable, projectId: string, tasks: Parameters<typeof insertTasks>[2]) {
  try {
    return await insertTasks(tx, projectId, tasks);
  } catch (error) {
    if (sqlState(error) === SQLSTATE.foreignKeyViolation) throw notFound('project');
    throw error;
  }
}

async function get(request: Request, response: Response): Promise<void> {
  const { projectId, id } = keyOf(request);
  const task = await findTask(request.tenant, projectId, id);
  if (task === undefined) throw notFound('task');
  sendVersioned(response, task);
}

async function update(request: Request, response: Response): Promise<void> {
  const key = keyOf(request);
  const change = parseInput(UpdateTask, request.body);
  const task = await updateTask(request.tenant, key, readIfMatch(request), change);
  if (task === undefined) {
    throw changeMissed('task', (await findTask(request.tenant, key.projectId, key.id)) !== undefined);
  }
  sendVersioned(response, task);
}

async function remove(request: Request, response: Response): Promise<void> {
  const key = keyOf(request);
  if (!(await deleteTask(request.tenant, key, readIfMatch(request)))) {
    throw changeMissed('task', (await findTask(request.tenant, key.projectId, key.id)) !== undefined);
  }
  response.status(204).end();
}
