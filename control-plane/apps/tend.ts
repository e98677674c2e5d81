import type { Queryable } from '../../platform/pg.ts';
import { countSilence, forgetOldReports } from './store.ts';

/** What has to be done each minute: notice who has fallen silent, forget what is old. */
export async function tendApps(db: Queryable): Promise<void> {
  await countSilence(db);
  await forgetOldReports(db);
}
