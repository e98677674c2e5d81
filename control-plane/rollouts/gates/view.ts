import type { GateMeasurement, GateStatus } from '../../../contract/gate.ts';
import type { RolloutSpec } from '../../../contract/rollout.ts';
import type { Queryable } from '../../../platform/pg.ts';
import { gatesOf, type GatedWave } from './gate.ts';
import { lastMeasurements, listGateRows, type ShownMeasurement } from './view-store.ts';

/**
 * How the gates of each wave stand, by the wave's ordinal; also those that nobody has measured yet. Asks nothing of
 * rollouts without gates.
 * @param regions that the reader may see; null means all
 */
export async function gateStatuses(
  db: Queryable,
  rollout: { id: string; spec: RolloutSpec },
  waves: readonly (GatedWave & { ordinal: number })[],
  regions: readonly string[] | null,
): Promise<Map<number, GateStatus[]>> {
  const planned = waves.map((wave) => ({ ...wave, gates: gatesOf(rollout.spec, wave) }));
  if (planned.every(({ gates }) => gates.length === 0)) return new Map();
  const [rows, lasts] = await Promise.all([listGateRows(db, rollout.id), lastMeasurements(db, rollout.id)]);
  return new Map(
    planned.map(({ ordinal, gates }) => [
      ordinal,
      gates.map(({ name, scope, rules, dryRun }) => {
        const row = rows.find((found) => found.wave === ordinal && found.gate === name);
        const last = lasts.find((found) => found.waveOrdinal === ordinal && found.gate === name);
        return {
          gate: name,
          scope,
          state: row?.state ?? 'waiting',
          dryRun,
          count: rules.count,
          counts: row?.counts ?? { success: 0, failure: 0, inconclusive: 0, error: 0, missed: 0 },
          nextAt: row?.nextAt?.toISOString() ?? null,
          last: last === undefined ? null : measurementView(last, regions),
        };
      }),
    ]),
  );
}

/** Without the tenant, and the value that was read of its database, for those who may not see its region. */
export function measurementView(
  measurement: ShownMeasurement,
  regions: readonly string[] | null,
): GateMeasurement {
  const { gate, scope, wave, outcome, samples, message, measuredAt, region } = measurement;
  const hidden = region !== null && regions !== null && !regions.includes(region);
  return {
    ...{ gate, scope, wave, outcome, samples, message },
    tenant: hidden ? null : measurement.tenant,
    value: hidden ? null : measurement.value,
    measuredAt: measuredAt.toISOString(),
  };
}
