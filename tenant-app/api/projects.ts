import express, { type Request, type Response } from 'express';
import { PageQuery } from '../../contract/page.ts';
import { readCursor } from './cursor.ts';
import { endpoint } from './endpoint.ts';
import { idempotently } from './idempotency.ts';
import { changeMissed, notFound, parseInput, readId, readIfMatch, sendVersioned } from './input.ts';
import { CreateProject, UpdateProject, type Project } from './project.ts';
import { deleteProject, findProject, insertProject, listProjects, updateProject } from './project-store.ts';

/** `/api/v1/projects`. */
export function projectsRouter(): express.Router {
  const router = express.Router();
  endpoint(router, '/', { get: list, post: create });
  endpoint(router, '/:projectId', { get, patch: update, delete: remove });
  return router;
}

async function list(request: Request, response: Response): Promise<void> {
  const page = parseInput(PageQuery, request.query);
  response.json(await listProjects(request.tenant, readCursor(page.cursor), page.limit));
}

async function create(request: Request, response: Response): Promise<void> {
  const input = parseInput(CreateProject, request.body);
  const answer = await idempotently(request, async (tx) => ({
    status: 201,
    body: await insertProject(tx, input),
  }));
  const project = answer.body as Project;
  if (answer.isReplayed) response.setHeader('Idempotency-Replayed', 'true');
  response.setHeader('Location', `/api/v1/projects/${project.id}`);
  response.status(answer.status);
  sendVersioned(response, project);
}

async function get(request: Request, response: Response): Promise<void> {
  const project = await findProject(request.tenant, readId(request, 'projectId', 'project'));
  if (project === undefined) throw notFound('project');
  sendVersioned(response, project);
}

async function update(request: Request, response: Response): Promise<void> {
  const id = readId(request, 'projectId', 'project');
  const change = parseInput(UpdateProject, request.body);
  const project = await updateProject(request.tenant, id, readIfMatch(request), change);
  if (project === undefined) {
    throw changeMissed('project', (await findProject(request.tenant, id)) !== undefined);
  }
  sendVersioned(response, project);
}

async function remove(request: Request, response: Response): Promise<void> {
  const id = readId(request, 'projectId', 'project');
  if (!(await deleteProject(request.tenant, id, readIfMatch(request)))) {
    throw changeMissed('project', (await findProject(request.tenant, id)) !== undefined);
  }
  response.status(204).end();
}
