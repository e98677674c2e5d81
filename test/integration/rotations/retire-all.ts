import { createRetireDriver } from '../../../control-plane/rotations/retire.ts';
import type { RotationDeps } from '../../../control-plane/rotations/deps.ts';
import { driveOnce } from '../../support/drive.ts';

/** Does what the sweeper would: drives every version whose login may be closed. Answers how many there were. */
export async function retireAll(deps: RotationDeps): Promise<number> {
  const driver = createRetireDriver(deps);
  const { rows } = await deps.registry.query<{ id: string }>(driver.openIdsSql);
  for (const { id } of rows) await driveOnce(deps.registry, driver, id);
  return rows.length;
}
