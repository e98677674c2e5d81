import { z } from 'zod';
import { GateMeasurement, GateMeasurementFilter } from '../../../contract/gate.ts';
import { PageQuery, pageOf } from '../../../contract/page.ts';
import { visibleRegions } from '../../access/caller.ts';
import { decodeCursor, pageOfRows } from '../../http/cursor.ts';
import { route, type SliceRoutes } from '../../http/route.ts';
import { rolloutNotFound } from '../rollout.ts';
import { findRollout } from '../store.ts';
import { listMeasurements } from './view-store.ts';
import { measurementView } from './view.ts';

const RolloutId = z.object({ id: z.uuid() });
/** Of the last one shown. */
const MeasurementCursor = z.object({ id: z.string().regex(/^[0-9]{1,18}$/) });

/** Every measurement of a rollout's gates. */
export function measurementRoutes(): SliceRoutes['routes'] {
  return [list];
}

const list = route({
  method: 'get',
  path: '/api/v1/rollouts/{id}/measurements',
  id: 'listRolloutMeasurements',
  summary: "List the measurements of a rollout's gates, newest first",
  tag: 'rollouts',
  permission: 'fleet:read',
  params: RolloutId,
  query: PageQuery.extend(GateMeasurementFilter.shape),
  status: 200,
  response: pageOf(GateMeasurement),
  handle: async ({ params, query, caller, tx }) => {
    if ((await findRollout(tx, params.id)) === undefined) throw rolloutNotFound(params.id);
    const { gate, wave, outcome, limit } = query;
    const after = decodeCursor(query.cursor, MeasurementCursor)?.id;
    const regions = visibleRegions(caller);
    // One more than asked for tells whether there is a next page.
    const rows = await listMeasurements(tx, params.id, { gate, wave, outcome, after, limit: limit + 1 });
    return {
      body: pageOfRows(
        rows,
        limit,
        ({ id }) => ({ id }),
        (row) => measurementView(row, regions),
      ),
    };
  },
});
