import type { Rotation, RotationPlan, RotationTarget } from '../../contract/rotation.ts';
import { stateText, type Paint } from './style.ts';
import { renderTable } from './table.ts';
import { age, lasted } from './time.ts';
import type { View } from './view.ts';

export const rotationView: View<Rotation> = {
  noun: 'rotation runs',
  name: (run) => run.id,
  columns: [
    { title: 'id', value: (run) => run.id, whole: true },
    { title: 'state', value: (run, paint) => stateText(paint, run.state) },
    { title: 'rotated', value: ({ counts, total }) => `${counts.rotated}/${total}`, right: true },
    { title: 'running', value: ({ counts }) => counts.running, right: true },
    { title: 'failed', value: ({ counts }) => counts.failed, right: true },
    { title: 'deferred', value: ({ counts }) => counts.deferred, right: true },
    { title: 'skipped', value: ({ counts }) => counts.skipped, right: true },
    { title: 'took', value: (run) => lasted(run.startedAt, run.finishedAt), right: true },
    { title: 'age', value: (run) => age(run.createdAt), right: true },
    { title: 'by', value: (run) => (run.scheduled ? 'policy' : run.actor) },
    { title: 'parallel', value: (run) => run.parallel, right: true, wide: true },
    { title: 'per server', value: (run) => run.perServer, right: true, wide: true },
    { title: 'reason', value: (run) => run.reason, wide: true },
    { title: 'error', value: (run) => run.error?.message, wide: true },
    { title: 'fix', value: (run) => run.error?.fix, detail: true },
  ],
  below: (run, paint) => (run.attention.length === 0 ? undefined : attentionTable(run, paint)),
};

/** Who was not rotated, and why. */
function attentionTable({ id, attention, counts }: Rotation, paint: Paint): string {
  const columns = rotationTargetView.columns.filter(({ wide }) => wide !== true);
  const table = renderTable(attention, columns, paint, undefined);
  const more = counts.failed + counts.deferred - attention.length;
  return more > 0 ? `${table}\nand ${more} more: fleet api GET /api/v1/rotations/${id}/targets` : table;
}

export const rotationTargetView: View<RotationTarget> = {
  noun: 'tenants in the run',
  name: (target) => target.tenant,
  columns: [
    { title: 'tenant', value: (target) => target.tenant },
    { title: 'state', value: (target, paint) => stateText(paint, target.state) },
    { title: 'why', value: whyText },
    { title: 'region', value: (target) => target.region, wide: true },
    { title: 'server', value: (target) => target.server, wide: true },
    { title: 'operation', value: (target) => target.operation, wide: true },
    { title: 'took', value: (target) => lasted(target.startedAt, target.finishedAt), wide: true },
  ],
};

function whyText({ reason, error }: RotationTarget): string | null {
  return error?.message ?? reason;
}

export const rotationPlanView: View<RotationPlan['targets'][number]> = {
  noun: 'tenants match',
  name: (target) => target.tenant,
  columns: [
    { title: 'tenant', value: (target) => target.tenant },
    { title: 'region', value: (target) => target.region },
    { title: 'server', value: (target) => target.server },
    { title: 'now', value: (target) => target.deferred ?? 'rotates' },
  ],
};
