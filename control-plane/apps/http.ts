import { z } from 'zod';
import { AppReport, AppReportAnswer } from '../../contract/app.ts';
import { RegionName } from '../../contract/server.ts';
import { requireRegion } from '../access/caller.ts';
import { route, type SliceRoutes } from '../http/route.ts';
import { requireKnownRegion } from '../servers/region.ts';
import { takeReport } from './report.ts';

/** What tenant apps tell the control plane. */
export function appRoutes(): SliceRoutes {
  return { routes: [report] };
}

const report = route({
  method: 'post',
  path: '/api/v1/regions/{region}/reports',
  id: 'reportApp',
  summary: "What a process of the region's tenant app is, and what its tenants got since it last reported",
  tag: 'routes',
  permission: 'app:report',
  params: z.object({ region: RegionName }),
  body: AppReport,
  status: 200,
  response: AppReportAnswer,
  handle: async ({ params, body, caller, tx }) => {
    requireRegion(caller, params.region);
    await requireKnownRegion(tx, params.region);
    return { body: await takeReport(tx, params.region, body) };
  },
});
