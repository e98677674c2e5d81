import { FleetError } from '../../../platform/errors.ts';
import { visibleRegions, type Caller } from '../../access/caller.ts';
import type { Transaction } from '../../registry/registry.ts';
import { findEdits, type Edit } from '../../releases/edits.ts';
import { releaseChecksum, type Migration } from '../../releases/release.ts';
import { findRelease, listMigrations, listReleasesUpTo } from '../../releases/store.ts';
import { missingRelease } from '../../releases/withdrawn.ts';
import { tenantsHaving } from './plan-store.ts';
import { plannedChecksum, type RolloutRecord } from '../store.ts';

/**
 * Refuses a release whose migrations are not those that were published, before anything is planned from them.
 * @throws FleetError 409 `migration_edited`, naming each with both checksums and the tenants that have it
 */
export async function refuseEdited(
  tx: Transaction,
  { name, headOrdinal }: { name: string; headOrdinal: number },
  migrations: readonly Migration[],
  caller: Caller,
): Promise<void> {
  const edits = findEdits(migrations, await listReleasesUpTo(tx, headOrdinal));
  if (edits.length > 0) throw await isEdited(tx, name, edits, caller);
}

/**
 * Refuses a plan whose release is no longer what it was when it was planned.
 * @throws FleetError 409 `migration_edited`
 */
export async function refuseChangedSincePlan(
  tx: Transaction,
  { id, release: name, undoOf }: Pick<RolloutRecord, 'id' | 'release' | 'undoOf'>,
  caller: Caller,
): Promise<void> {
  if (undoOf !== null) return;
  const release = await findRelease(tx, name);
  if (release === undefined) throw await missingRelease(tx, name);
  const migrations = await listMigrations(tx, release.headOrdinal);
  await refuseEdited(tx, release, migrations, caller);
  const planned = await plannedChecksum(tx, id);
  const now = releaseChecksum(migrations);
  if (planned === null || planned === now) return;
  const edit = { name: `release ${name}`, ordinal: 1, published: planned, now };
  throw await isEdited(tx, name, [edit], caller);
}

async function isEdited(
  tx: Transaction,
  release: string,
  edits: readonly Edit[],
  caller: Caller,
): Promise<FleetError> {
  const told = await Promise.all(
    edits.slice(0, EDITS_TOLD).map(async ({ name, ordinal, published, now }) => {
      const having = await tenantsHaving(tx, ordinal, visibleRegions(caller));
      return { path: name, message: `published with checksum ${published}, now ${now}${heldBy(having)}` };
    }),
  );
  const [first] = told;
  const more = edits.length > 1 ? `, and ${edits.length - 1} more` : '';
  return new FleetError({
    code: 'migration_edited',
    status: 409,
    message: `release ${release} is not what was published: ${first?.path}: ${first?.message}${more}`,
    fix:
      'somebody has changed the registry by hand: bring the migration back as it was published ' +
      '(fleet audit list --action release.publish has the checksums); a change goes into a new one',
    errors: told,
  });
}

/** More say nothing new: the registry was changed by hand, and has to be looked at. */
const EDITS_TOLD = 10;

function heldBy({ tenants, count }: { tenants: readonly string[]; count: number }): string {
  if (count === 0) return '; no database has it';
  const more = count > tenants.length ? ` and ${count - tenants.length} more` : '';
  return `; applied to ${tenants.join(', ')}${more}`;
}
