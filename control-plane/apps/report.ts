import type { AppReport, AppReportAnswer } from '../../contract/app.ts';
import { FleetError } from '../../platform/errors.ts';
import type { Transaction } from '../registry/registry.ts';
import { addTraffic, noteInstance, regionOfInstance } from './store.ts';

/**
 * Takes a report of an instance in `region`, once however often it comes. Databases of other regions and such that
 * do not exist are left out alike, and named: whether there is such a database is not told.
 * @throws FleetError 409 `instance_elsewhere`, 422 `window_out_of_time`
 */
export async function takeReport(
  tx: Transaction,
  region: string,
  report: AppReport,
): Promise<AppReportAnswer> {
  refuseOutOfTime(report);
  if (!(await noteInstance(tx, region, report))) {
    const known = await regionOfInstance(tx, report.instance);
    if (known !== undefined && known !== region) throw isElsewhere(report.instance);
    return { counted: false, ignored: [] };
  }
  const { window, databases } = report;
  const counted = databases.length === 0 ? new Set() : await addTraffic(tx, region, window, databases);
  const ids = [...new Set(databases.map(({ database }) => database))];
  return { counted: true, ignored: ids.filter((id) => !counted.has(id)) };
}

/** Clocks of machines differ by seconds; five minutes is a clock that is wrong. */
const AHEAD_MAX_MS = 300_000;
/** Of more than a day ago nothing is kept. */
const AGE_MAX_MS = 86_400_000;

function refuseOutOfTime({ window }: AppReport): void {
  const from = Date.parse(window.from);
  if (from <= Date.now() + AHEAD_MAX_MS && from >= Date.now() - AGE_MAX_MS) return;
  throw new FleetError({
    code: 'window_out_of_time',
    status: 422,
    message: `the window begins at ${window.from}, more than a day ago or minutes in the future`,
    fix: "set the clock of the app's machine",
  });
}

function isElsewhere(instance: string): FleetError {
  return new FleetError({
    code: 'instance_elsewhere',
    status: 409,
    message: `instance ${instance} has reported from another region`,
    fix: 'make a new instance id whenever the app starts',
  });
}
