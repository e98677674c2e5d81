import { applyMigrations, type ApplyRequest } from '../../../control-plane/releases/apply.ts';
import type { PgAddress } from '../../../platform/pg.ts';

/** A process of its own that applies migrations, to be killed. Its task comes as JSON in `APPLY_TASK`. */
export interface ApplyTask {
  address: PgAddress;
  request: ApplyRequest;
}

const task = JSON.parse(process.env.APPLY_TASK ?? '') as ApplyTask;
process.stdout.write('applying\n');
await applyMigrations(task.address, task.request);
process.stdout.write('applied\n');
