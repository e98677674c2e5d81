import { hasMoto } from '../../scripts/launcher/moto.ts';

export { MOTO_CREDENTIALS, startMoto, type Moto } from '../../scripts/launcher/moto.ts';

/** For the title of what is skipped: everybody who reads the report must see it, and how to run it. */
export const motoTitle = hasMoto()
  ? 'on AWS as moto has it'
  : 'on AWS — SKIPPED: there is no moto here; with Python 3.10+, node scripts/moto.mjs installs it';

/** Called by the first hook of a suite: all its tests then count as skipped, under the title above. */
export function skipWithoutMoto(context: Mocha.Context): void {
  if (!hasMoto()) context.skip();
}
