import { z } from 'zod';
import { PageQuery, pageOf } from '../../../contract/page.ts';
import {
  Rotation,
  RotationFilter,
  RotationPlan,
  RotationTarget,
  RotationTargetFilter,
  StartRotation,
} from '../../../contract/rotation.ts';
import { visibleRegions } from '../../access/caller.ts';
import { CreatedCursor, decodeCursor, pageByCreation, pageOfRows } from '../../http/cursor.ts';
import { route, type Route } from '../../http/route.ts';
import { cancelRun } from './cancel.ts';
import { listRuns } from './run-store.ts';
import { planRun, startRun } from './start.ts';
import { listTargets } from './target-store.ts';
import { runViews, visibleRun } from './view.ts';

const TAG = 'secrets';
const RunId = z.object({ id: z.uuid() });
const TargetCursor = z.object({ tenant: z.string().max(40) });

/** The API of rotation runs. */
export function runRoutes(): Route[] {
  return [list, start, plan, get, targets, cancel];
}

const list = route({
  method: 'get',
  path: '/api/v1/rotations',
  id: 'listRotations',
  summary: 'List rotation runs, newest first',
  tag: TAG,
  permission: 'secret:read',
  query: PageQuery.extend(RotationFilter.shape),
  status: 200,
  response: pageOf(Rotation),
  handle: async ({ tx, query, caller }) => {
    const { limit, cursor, ...filter } = query;
    const runs = await listRuns(tx, {
      ...filter,
      regions: visibleRegions(caller),
      limit: limit + 1,
      cursor: decodeCursor(cursor, CreatedCursor),
    });
    return { body: pageByCreation(await runViews(tx, runs), limit) };
  },
});

const start = route({
  method: 'post',
  path: '/api/v1/rotations',
  id: 'startRotation',
  summary:
    'Give the databases of many tenants new credentials, a few at a time; 200 when that is under way already',
  tag: TAG,
  permission: 'secret:rotate',
  body: StartRotation,
  status: 201,
  response: Rotation,
  handle: async (call) => {
    const { tx, body, caller } = call;
    const { id, joined } = await startRun(tx, body, call);
    const [view] = await runViews(tx, [await visibleRun(tx, id, caller)]);
    return {
      body: view,
      headers: { Location: `/api/v1/rotations/${id}` },
      ...(joined ? { status: 200 } : {}),
    };
  },
});

const plan = route({
  method: 'post',
  path: '/api/v1/rotations/plan',
  id: 'planRotation',
  summary: 'Say which tenants such a run would take now; nothing is changed',
  tag: TAG,
  permission: 'secret:rotate',
  body: StartRotation,
  status: 200,
  response: RotationPlan,
  handle: async (call) => ({ body: await planRun(call.tx, call.body, call) }),
});

const get = route({
  method: 'get',
  path: '/api/v1/rotations/{id}',
  id: 'getRotation',
  summary: 'Show how far a rotation run is, and who was not rotated',
  tag: TAG,
  permission: 'secret:read',
  params: RunId,
  status: 200,
  response: Rotation,
  handle: async ({ tx, params, caller }) => {
    const [view] = await runViews(tx, [await visibleRun(tx, params.id, caller)]);
    return { body: view };
  },
});

const targets = route({
  method: 'get',
  path: '/api/v1/rotations/{id}/targets',
  id: 'listRotationTargets',
  summary: 'List the tenants of a rotation run',
  tag: TAG,
  permission: 'secret:read',
  params: RunId,
  query: PageQuery.extend(RotationTargetFilter.shape),
  status: 200,
  response: pageOf(RotationTarget),
  handle: async ({ tx, params, query, caller }) => {
    const { id } = await visibleRun(tx, params.id, caller);
    const { limit, cursor, state } = query;
    const after = decodeCursor(cursor, TargetCursor);
    const states = state === undefined ? null : [state];
    const rows = await listTargets(tx, id, { states, after, limit: limit + 1 });
    return {
      body: pageOfRows(
        rows,
        limit,
        ({ tenant }) => ({ tenant }),
        (row) => row,
      ),
    };
  },
});

const cancel = route({
  method: 'post',
  path: '/api/v1/rotations/{id}/cancel',
  id: 'cancelRotation',
  summary: 'Let a rotation run begin nothing more; what it has begun, it ends',
  tag: TAG,
  permission: 'secret:rotate',
  params: RunId,
  status: 200,
  response: Rotation,
  handle: async (call) => {
    const { tx, params, caller } = call;
    await cancelRun(tx, await visibleRun(tx, params.id, caller), call);
    const [view] = await runViews(tx, [await visibleRun(tx, params.id, caller)]);
    return { body: view };
  },
});
