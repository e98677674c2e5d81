import { lossesOf } from '../../../platform/sql-lint/losses.ts';
import { FleetError } from '../../../platform/errors.ts';
import type { Migration } from '../../releases/release.ts';
import type { RolloutRecord } from '../store.ts';

/** A migration whose way back takes data with it, and which. */
export interface Loss {
  migration: string;
  losses: string[];
}

/** What was written since to what the down parts drop is gone with them. In the order in which they run. */
export async function undoLosses(migrations: readonly Migration[]): Promise<Loss[]> {
  const found = await Promise.all(
    migrations.map(async ({ name, downSql }) => ({ migration: name, losses: await lossesOf(downSql ?? '') })),
  );
  return found.filter(({ losses }) => losses.length > 0).reverse();
}

/** @throws FleetError 422 `confirmation_required`, naming what goes, unless `confirm` is the release's name */
export function refuseUnconfirmed(
  { id, release }: Pick<RolloutRecord, 'id' | 'release'>,
  losses: readonly Loss[],
  confirm: string | undefined,
): void {
  if (losses.length === 0 || confirm === release) return;
  const told = losses.map((loss) => `${loss.migration} ${loss.losses.join(', ')}`);
  throw new FleetError({
    code: 'confirmation_required',
    status: 422,
    message: `taking back ${release} destroys what was written since: ${told.join('; ')}`,
    fix: `fleet rollout undo ${id} --confirm ${release}`,
    errors: losses.map((loss) => ({ path: loss.migration, message: loss.losses.join(', ') })),
  });
}
