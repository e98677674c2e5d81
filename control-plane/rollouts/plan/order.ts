import type { WaveSpec } from '../../../contract/rollout.ts';

interface Ordered {
  slug: string;
  region: string;
}

/**
 * The order in which a wave takes its targets. `sequence`: region by region (as the wave names them, else by
 * name), each by slug; `interleaved`: the regions evenly mixed, so that any beginning of the list holds them in
 * about the shares of the whole. The regions are an order, not a barrier: one that is away holds up no other.
 */
export function orderTargets<T extends Ordered>(
  members: readonly T[],
  wave: Pick<WaveSpec, 'regions' | 'match'>,
): T[] {
  const named = typeof wave.match?.region === 'object' ? wave.match.region : [];
  const place = (region: string): number => {
    const index = named.indexOf(region);
    return index === -1 ? named.length : index;
  };
  const regions = [...new Set(members.map((member) => member.region))].sort(
    (a, b) => place(a) - place(b) || compare(a, b),
  );
  const lists = regions.map((region) =>
    members
      .filter((member) => member.region === region)
      .sort((a, b) => compare(a.slug, b.slug))
      .map((member, index, all) => ({ member, share: (index + 0.5) / all.length })),
  );
  const ordered = lists.flat();
  // Sorting is stable: at equal shares the regions keep their order.
  if (wave.regions === 'interleaved') ordered.sort((a, b) => a.share - b.share);
  return ordered.map(({ member }) => member);
}

/** Plain comparison, not a locale's: the order must be the same on every machine. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
