import { z } from 'zod';
import type { Paint } from './style.ts';
import { renderFields, renderTable } from './table.ts';

/** What the CLI shows of a plan; the answer's other fields are passed through to json and yaml. */
export const RolloutPlan = z.object({
  release: z.string(),
  total: z.number().int(),
  waves: z.array(
    z.object({
      name: z.string(),
      total: z.number().int(),
      parallel: z.number().int(),
      perServer: z.number().int(),
    }),
  ),
});
export type RolloutPlan = z.infer<typeof RolloutPlan>;

/** The plan as a person reads it before starting. */
export function renderRolloutPlan(plan: RolloutPlan, paint: Paint): string {
  const fields = renderFields(
    plan,
    [
      { title: 'release', value: (each) => each.release },
      {
        title: 'targets',
        value: (each) => (each.total === 0 ? 'none: the fleet is up to date' : each.total),
      },
    ],
    paint,
  );
  if (plan.total === 0) return fields;
  const waves = renderTable<RolloutPlan['waves'][number]>(
    plan.waves,
    [
      { title: 'wave', value: (wave) => wave.name },
      { title: 'targets', value: (wave) => wave.total, right: true },
      { title: 'parallel', value: (wave) => wave.parallel, right: true },
      { title: 'per server', value: (wave) => wave.perServer, right: true },
    ],
    paint,
    undefined,
  );
  return `${fields}\n\n${waves}`;
}
