import { onOneLine } from './fit.ts';

/** Why a backfill is held. Reasons that a switch gives begin with the word themselves. */
export function heldText(reason: string): string {
  const said = onOneLine(reason);
  return said.startsWith('held') ? said : `held: ${said}`;
}
