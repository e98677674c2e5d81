import { BackfillHolds, SwitchBackfills, type BackfillHold } from '../../../contract/backfill.ts';
import type { Queryable } from '../../../platform/pg.ts';
import { visibleRegions, type Caller } from '../../access/caller.ts';
import { route, type SliceRoutes } from '../../http/route.ts';
import { listHolds } from './store.ts';
import { switchBackfills } from './switch.ts';

const PATH = '/api/v1/backfills/switches';
const TAG = 'rollouts';

/** The operators' switches of backfills. */
export function backfillRoutes(): SliceRoutes {
  return { routes: [list, change] };
}

const list = route({
  method: 'get',
  path: PATH,
  id: 'listBackfillSwitches',
  summary: 'List the switches that hold backfills: of the fleet, of servers, of tenants',
  tag: TAG,
  permission: 'fleet:read',
  status: 200,
  response: BackfillHolds,
  handle: async ({ tx, caller }) => ({ body: await readHolds(tx, caller) }),
});

const change = route({
  method: 'post',
  path: PATH,
  id: 'switchBackfills',
  summary:
    'Hold the backfills of the fleet, a server or a tenant behind the chunk in hand, or let them go on',
  tag: TAG,
  permission: 'rollout:write',
  body: SwitchBackfills,
  status: 200,
  response: BackfillHolds,
  handle: async ({ tx, body, caller, requestId }) => {
    await switchBackfills(tx, { ...body, caller, requestId });
    return { body: await readHolds(tx, caller) };
  },
});

async function readHolds(tx: Queryable, caller: Caller): Promise<BackfillHolds> {
  const rows = await listHolds(tx, visibleRegions(caller));
  return { items: rows.map((row): BackfillHold => ({ ...row, since: row.since.toISOString() })) };
}
