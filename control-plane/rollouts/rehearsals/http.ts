import { z } from 'zod';
import { PageQuery, pageOf } from '../../../contract/page.ts';
import { Rehearsal, RehearsalSummary, StartRehearsal } from '../../../contract/rehearsal.ts';
import { visibleRegions } from '../../access/caller.ts';
import { CreatedCursor, decodeCursor, pageByCreation } from '../../http/cursor.ts';
import { route, type Route } from '../../http/route.ts';
import { rolloutNotFound } from '../rollout.ts';
import { findRollout } from '../store.ts';
import { startRehearsal } from './start.ts';
import { readRehearsal, rowView } from './view.ts';
import { listRehearsals } from './view-store.ts';

const RolloutId = z.object({ id: z.uuid() });
const TAG = 'rollouts';

/** The API of rehearsals, beside that of their rollouts. */
export function rehearsalRoutes(): Route[] {
  return [start, list, get];
}

const start = route({
  method: 'post',
  path: '/api/v1/rollouts/{id}/rehearsals',
  id: 'rehearseRollout',
  summary: 'Try what a rollout has left to run, in transactions that are rolled back, or on copies',
  tag: TAG,
  permission: 'rollout:write',
  params: RolloutId,
  body: StartRehearsal,
  status: 202,
  response: Rehearsal,
  handle: async ({ params, body, caller, requestId, tx }) => {
    const id = await startRehearsal(tx, params.id, { ...body, caller, requestId });
    return {
      body: await readRehearsal(tx, { id, rolloutId: params.id }, visibleRegions(caller)),
      headers: { Location: `/api/v1/rollouts/${params.id}/rehearsals/${id}` },
    };
  },
});

const list = route({
  method: 'get',
  path: '/api/v1/rollouts/{id}/rehearsals',
  id: 'listRehearsals',
  summary: 'List the rehearsals of a rollout, newest first',
  tag: TAG,
  permission: 'fleet:read',
  params: RolloutId,
  query: PageQuery,
  status: 200,
  response: pageOf(RehearsalSummary),
  handle: async ({ params, query, caller, tx }) => {
    if ((await findRollout(tx, params.id)) === undefined) throw rolloutNotFound(params.id);
    const after = decodeCursor(query.cursor, CreatedCursor);
    const { limit } = query;
    const regions = visibleRegions(caller);
    // One more than asked for tells whether there is a next page.
    const rows = await listRehearsals(tx, { rolloutId: params.id, regions, after, limit: limit + 1 });
    return { body: pageByCreation(rows.map(rowView), limit) };
  },
});

const get = route({
  method: 'get',
  path: '/api/v1/rollouts/{id}/rehearsals/{rehearsal}',
  id: 'getRehearsal',
  summary: 'Get a rehearsal: who would fail and why, what was measured, and how long the rollout will take',
  tag: TAG,
  permission: 'fleet:read',
  params: RolloutId.extend({ rehearsal: z.uuid() }),
  status: 200,
  response: Rehearsal,
  handle: async ({ params, caller, tx }) => {
    const asked = { id: params.rehearsal, rolloutId: params.id };
    return { body: await readRehearsal(tx, asked, visibleRegions(caller)) };
  },
});
