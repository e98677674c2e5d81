import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { AcceptDrift, Drift, DriftCheck, DriftFilter, StartDriftCheck } from '../../contract/drift.ts';
import { PageQuery, pageOf } from '../../contract/page.ts';
import type { Queryable } from '../../platform/pg.ts';
import { mayUseRegion, requireRegion, visibleRegions, type Caller } from '../access/caller.ts';
import { decodeCursor, pageOfRows } from '../http/cursor.ts';
import { route, type SliceRoutes } from '../http/route.ts';
import { findTenant } from '../tenants/store.ts';
import { tenantNotFound } from '../tenants/tenant.ts';
import { acceptDrift } from './accept.ts';
import { findCheck, type DriftCheckRecord } from './check-store.ts';
import { checkNotFound, NO_COUNTS } from './drift.ts';
import { startDriftCheck } from './start.ts';
import { listDrift, type DriftRow } from './store.ts';

const TAG = 'drift';
const DriftCursor = z.object({ tenant: z.string().max(40) });

/** The API of drift. */
export function driftRoutes(): SliceRoutes {
  return { routes: [list, check, getCheck, accept] };
}

const list = route({
  method: 'get',
  path: '/api/v1/drift',
  id: 'listDrift',
  summary: 'List databases whose schema is not what their migrations make, as the last check found them',
  tag: TAG,
  permission: 'fleet:read',
  query: DriftFilter.extend(PageQuery.shape),
  status: 200,
  response: pageOf(Drift),
  handle: async ({ tx, query, caller }) => {
    const { limit, cursor, ...filter } = query;
    const after = decodeCursor(cursor, DriftCursor);
    // One more than asked for tells whether there is a next page.
    const rows = await listDrift(tx, { ...filter, regions: visibleRegions(caller), after, limit: limit + 1 });
    return { body: pageOfRows(rows, limit, ({ tenant }) => ({ tenant }), driftView) };
  },
});

const check = route({
  method: 'post',
  path: '/api/v1/drift/checks',
  id: 'checkDrift',
  summary: 'Compare the schemas of databases with what their migrations make',
  tag: TAG,
  permission: 'operation:write',
  body: StartDriftCheck,
  status: 201,
  response: DriftCheck,
  handle: async ({ tx, body, caller, requestId }) => {
    const id = randomUUID();
    await startDriftCheck(tx, { id, match: body.match, caller, requestId });
    return { body: await readCheck(tx, id, caller), headers: { Location: `/api/v1/drift/checks/${id}` } };
  },
});

const getCheck = route({
  method: 'get',
  path: '/api/v1/drift/checks/{id}',
  id: 'getDriftCheck',
  summary: 'Show how far a drift check is and what it counts',
  tag: TAG,
  permission: 'fleet:read',
  params: z.object({ id: z.uuid() }),
  status: 200,
  response: DriftCheck,
  handle: async ({ tx, params, caller }) => ({ body: await readCheck(tx, params.id, caller) }),
});

const accept = route({
  method: 'post',
  path: '/api/v1/drift/tenants/{tenant}/accept',
  id: 'acceptDrift',
  summary: "Take the present drift of a tenant's database for intended, so that rollouts do not refuse it",
  tag: TAG,
  permission: 'rollout:write',
  params: z.object({ tenant: z.string().min(1).max(100) }),
  body: AcceptDrift,
  status: 200,
  response: Drift,
  handle: async ({ tx, params, body, caller, requestId }) => {
    const tenant = await findTenant(tx, params.tenant);
    if (tenant === undefined) throw tenantNotFound(params.tenant);
    requireRegion(caller, tenant.region);
    return { body: driftView(await acceptDrift(tx, tenant, { ...body, caller, requestId })) };
  },
});

/** A check of regions that are not all the caller's counts what is not theirs to know: it is not there for them. */
async function readCheck(tx: Queryable, id: string, caller: Caller): Promise<DriftCheck> {
  const record = await findCheck(tx, id);
  const allowed = record?.regions?.every((region) => mayUseRegion(caller, region));
  if (record === undefined || !(allowed ?? caller.regions.length === 0)) throw checkNotFound(id);
  return checkView(record);
}

function checkView({ regions: _regions, ...check }: DriftCheckRecord): DriftCheck {
  return {
    ...check,
    counts: { ...NO_COUNTS, ...check.counts },
    unread: check.unread.map(({ tenant, error }) => ({ tenant, error })),
    createdAt: check.createdAt.toISOString(),
    startedAt: check.startedAt?.toISOString() ?? null,
    finishedAt: check.finishedAt?.toISOString() ?? null,
  };
}

function driftView(row: DriftRow): Drift {
  const { databaseId: _id, acceptedBy, acceptedReason, acceptedAt, since, checkedAt, ...drift } = row;
  const accepted = acceptedBy !== null && acceptedAt !== null && row.state === 'accepted';
  return {
    ...drift,
    since: since.toISOString(),
    checkedAt: checkedAt.toISOString(),
    accepted: accepted
      ? { by: acceptedBy, at: acceptedAt.toISOString(), reason: acceptedReason ?? '' }
      : null,
  };
}
