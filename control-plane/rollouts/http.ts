import { z } from 'zod';
import type { Permission } from '../../contract/access.ts';
import { PageQuery, pageOf } from '../../contract/page.ts';
import { RolloutStanding } from '../../contract/progress.ts';
import {
  AbortRollout,
  ApproveRollout,
  CreateRolloutQuery,
  NothingToPlan,
  PromoteRollout,
  RetryRollout,
  Rollout,
  RolloutFilter,
  RolloutSpec,
  RolloutSummary,
  RolloutTarget,
  RolloutVerbBody,
  SkipTarget,
  StartRollout,
  UndoRollout,
  TargetState,
} from '../../contract/rollout.ts';
import { RolloutSchemaDiff } from '../../contract/schema-diff.ts';
import { visibleRegions, type Asker, type Caller } from '../access/caller.ts';
import type { ReferenceDeps } from '../drift/reference.ts';
import { CreatedCursor, decodeCursor, pageByCreation, pageOfRows } from '../http/cursor.ts';
import { route, type Answer, type SliceRoutes } from '../http/route.ts';
import type { Transaction } from '../registry/registry.ts';
import { approveRollout } from './verbs/approve.ts';
import { measurementRoutes } from './gates/http.ts';
import { rolloutSchemaDiff } from './plan/plan-diff.ts';
import { events, progressRoutes } from './view/progress-http.ts';
import { promoteRollout } from './verbs/promote.ts';
import { rehearsalRoutes } from './rehearsals/http.ts';
import { rolloutNotFound } from './rollout.ts';
import { planRollout, planUnlessDone, startRollout } from './verbs/start.ts';
import { findRollout } from './store.ts';
import { undoRollout } from './verbs/undo.ts';
import { abortRollout } from './verbs/abort.ts';
import { pauseRollout, resumeRollout } from './verbs/pause.ts';
import { retryRollout } from './verbs/retry.ts';
import { skipTarget } from './verbs/skip.ts';
import { listRollouts, listTargets, type TargetRow } from './view/view-store.ts';
import { readRollout, readStanding, rowView, targetView } from './view/view.ts';
import { withdraw } from './verbs/withdraw-http.ts';

const RolloutId = z.object({ id: z.uuid() });
const TargetFilter = z.object({ state: TargetState.optional() });
const TargetCursor = z.object({ wave: z.number().int(), ordinal: z.number().int() });
const TAG = 'rollouts';

/** The API of rollouts. */
export function rolloutRoutes(deps: ReferenceDeps): SliceRoutes {
  const { registry } = deps;
  return {
    routes: [
      create,
      plan,
      list,
      get,
      targets,
      schemaDiff(deps),
      start,
      approve,
      pause,
      resume,
      promote,
      abort,
      retry,
      skip,
      undo,
      withdraw,
      ...measurementRoutes(),
      ...rehearsalRoutes(),
      ...progressRoutes(),
    ],
    streams: [events(registry)],
  };
}

const create = route({
  method: 'post',
  path: '/api/v1/rollouts',
  id: 'createRollout',
  summary: 'Plan a rollout and start it at once',
  tag: TAG,
  permission: 'rollout:write',
  query: CreateRolloutQuery,
  body: RolloutSpec,
  status: 201,
  response: Rollout,
  handle: async ({ query, body, caller, requestId, tx }) => {
    const id = await planRollout(tx, body, { caller, requestId });
    await startRollout(tx, id, { ...query, caller, requestId });
    return created(tx, id, caller);
  },
});

const plan = route({
  method: 'post',
  path: '/api/v1/rollouts/plan',
  id: 'planRollout',
  summary: 'Store the plan of a rollout, to be started later; 200 and no plan where no database is behind',
  tag: TAG,
  permission: 'rollout:write',
  body: RolloutSpec,
  status: 201,
  response: z.union([Rollout, NothingToPlan]),
  handle: async ({ body, caller, requestId, tx }) => {
    const planned = await planUnlessDone(tx, body, { caller, requestId });
    if (typeof planned !== 'string') return { status: 200, body: planned };
    return created(tx, planned, caller);
  },
});

const list = route({
  method: 'get',
  path: '/api/v1/rollouts',
  id: 'listRollouts',
  summary: 'List rollouts, newest first',
  tag: TAG,
  permission: 'fleet:read',
  query: PageQuery.extend(RolloutFilter.shape),
  status: 200,
  response: pageOf(RolloutSummary),
  handle: async ({ query, caller, tx }) => {
    const after = decodeCursor(query.cursor, CreatedCursor);
    const { state, release, limit } = query;
    const regions = visibleRegions(caller);
    // One more than asked for tells whether there is a next page.
    const rows = await listRollouts(tx, { state, release, regions, after, limit: limit + 1 });
    return {
      body: pageByCreation(
        rows.map((row) => rowView(row, regions)),
        limit,
      ),
    };
  },
});

const get = route({
  method: 'get',
  path: '/api/v1/rollouts/{id}',
  id: 'getRollout',
  summary: 'Get a rollout with its waves and targets',
  tag: TAG,
  permission: 'fleet:read',
  params: RolloutId,
  status: 200,
  response: Rollout,
  handle: ({ params, caller, tx }) => answer(tx, params.id, caller),
});

const targets = route({
  method: 'get',
  path: '/api/v1/rollouts/{id}/targets',
  id: 'listRolloutTargets',
  summary: 'List the targets of a rollout, in the order of the plan',
  tag: TAG,
  permission: 'fleet:read',
  params: RolloutId,
  query: PageQuery.extend(TargetFilter.shape),
  status: 200,
  response: pageOf(RolloutTarget),
  handle: async ({ params, query, caller, tx }) => {
    if ((await findRollout(tx, params.id)) === undefined) throw rolloutNotFound(params.id);
    const after = decodeCursor(query.cursor, TargetCursor);
    const regions = visibleRegions(caller);
    const rows = await listTargets(tx, params.id, {
      regions,
      after,
      state: query.state,
      limit: query.limit + 1,
    });
    const positionOf = (row: TargetRow) => ({ wave: row.waveOrdinal, ordinal: row.ordinal });
    return { body: pageOfRows(rows, query.limit, positionOf, targetView) };
  },
});

function schemaDiff(deps: ReferenceDeps) {
  return route({
    method: 'get',
    path: '/api/v1/rollouts/{id}/schema-diff',
    id: 'getRolloutSchemaDiff',
    summary:
      "Show what a rollout changes of its targets' schemas; made on a scratch database when first asked",
    tag: TAG,
    permission: 'fleet:read',
    params: RolloutId,
    status: 200,
    response: RolloutSchemaDiff,
    handle: async ({ params, caller }) => ({
      body: await rolloutSchemaDiff(deps, params.id, visibleRegions(caller)),
    }),
  });
}

const start = verb('start', 'Start a planned rollout, submit it for approval, or queue it', {
  body: StartRollout,
  act: startRollout,
});
const approve = verb('approve', 'Approve a plan, or waves that have passed; not by the author', {
  body: ApproveRollout,
  act: approveRollout,
  permission: 'rollout:approve',
});
const pause = verb('pause', 'Start no further target; those in flight finish', {
  body: RolloutVerbBody,
  act: pauseRollout,
});
const resume = verb('resume', 'Go on after a pause', { body: RolloutVerbBody, act: resumeRollout });
const promote = verb('promote', 'Leave the present pause, bake, gate or halt without waiting for it', {
  body: PromoteRollout,
  act: promoteRollout,
});
const abort = verb('abort', 'End a rollout for good; nothing is reverted', {
  body: AbortRollout,
  act: abortRollout,
});
const retry = verb('retry', 'Run failed targets of a halted rollout again, or those named of a running one', {
  body: RetryRollout,
  act: retryRollout,
});
const skip = verb('skip', 'Leave one tenant behind, with a reason; later rollouts pass it by until named', {
  body: SkipTarget,
  act: skipTarget,
});

const undo = route({
  method: 'post',
  path: '/api/v1/rollouts/{id}/undo',
  id: 'undoRollout',
  summary:
    'Take back what a rollout has changed, by a rollout of its own; answers that one. `confirm` repeats the release where data goes with it',
  tag: TAG,
  permission: 'rollout:write',
  params: RolloutId,
  body: UndoRollout,
  status: 201,
  response: Rollout,
  handle: async ({ params, body, caller, requestId, ifMatch, tx }) => {
    const id = await undoRollout(tx, params.id, { ...body, caller, requestId, ifMatch });
    return created(tx, id, caller);
  },
});

/** A verb on one rollout: all answer the rollout as it then stands, without its targets. */
function verb<B extends { reason?: string | undefined }>(
  name: string,
  summary: string,
  {
    body,
    act,
    permission = 'rollout:write',
  }: {
    body: z.ZodType<B>;
    act: (tx: Transaction, id: string, asker: Asker & B) => Promise<void>;
    permission?: Permission;
  },
) {
  return route({
    method: 'post',
    path: `/api/v1/rollouts/{id}/${name}`,
    id: `${name}Rollout`,
    summary,
    tag: TAG,
    permission,
    params: RolloutId,
    body,
    status: 200,
    response: RolloutStanding,
    etag: true,
    handle: async ({ params, body: given, caller, requestId, ifMatch, tx }) => {
      await act(tx, params.id, { ...given, caller, requestId, ifMatch });
      const body = await readStanding(tx, params.id, visibleRegions(caller));
      return { body, version: body.version };
    },
  });
}

async function answer(tx: Transaction, id: string, caller: Caller): Promise<Answer & { body: Rollout }> {
  const body = await readRollout(tx, id, visibleRegions(caller));
  return { body, version: body.version };
}

async function created(tx: Transaction, id: string, caller: Caller): Promise<Answer> {
  return { ...(await answer(tx, id, caller)), headers: { Location: `/api/v1/rollouts/${id}` } };
}
