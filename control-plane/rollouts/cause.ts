import type { Queryable } from '../../platform/pg.ts';
import type { Cause } from './rollout.ts';
import { firstFailure } from './target-store.ts';

/** The target that a halt names. Kept apart from the message, because not every reader may see its region. */
export interface NamedTarget {
  tenant: string;
  region: string;
  /** Only where the server is at fault. */
  server?: string | undefined;
}

/** As it is stored; the message itself names no tenant and no server. */
export interface StoredCause extends Cause {
  first?: NamedTarget | undefined;
  /** The wave that was stopped. */
  wave?: string | undefined;
}

/** What a reader is told who may see `regions`; null means all. */
export function causeView(cause: StoredCause | null, regions: string[] | null): Cause | null {
  if (cause === null) return null;
  const { first, wave: _wave, ...told } = cause;
  if (first === undefined || (regions !== null && !regions.includes(first.region))) return told;
  const server = first.server === undefined ? '' : ` on server ${first.server}`;
  return { ...told, message: `${told.message}; the first: ${first.tenant}${server}` };
}

/** The first failed target of the rollout, or of one wave, as a cause names it. */
export async function nameFirstFailure(
  db: Queryable,
  of: { rolloutId: string; wave: number | null },
  state: 'failed' | 'unreachable',
): Promise<NamedTarget | undefined> {
  const failure = await firstFailure(db, of, state);
  if (failure === undefined) return undefined;
  const { tenant, region, server } = failure;
  return { tenant, region, server: state === 'unreachable' ? server : undefined };
}
