import type { Match } from '../../contract/rollout.ts';

/** Whether a match takes tenant `t` on server `s`, with `matchValues` as the first parameters. */
export const MATCH_SQL = `(($1::text[] IS NULL OR t.region = ANY ($1)) AND ($2::text[] IS NULL OR t.region = ANY ($2))
  AND ($3::text[] IS NULL OR t.tier = ANY ($3)) AND ($4::text[] IS NULL OR s.name = ANY ($4))
  AND ($5::text[] IS NULL OR t.slug = ANY ($5) OR t.id::text = ANY ($5)) AND t.labels @> $6::jsonb)`;

/** The six of them; `regions` are those that the caller may see, null means all. */
export function matchValues(match: Match, regions: string[] | null): unknown[] {
  return [
    regions,
    listOf(match.region),
    listOf(match.tier),
    listOf(match.server),
    listOf(match.tenants),
    JSON.stringify(match.labels ?? {}),
  ];
}

function listOf(wanted: string | readonly string[] | undefined): readonly string[] | null {
  if (wanted === undefined) return null;
  return typeof wanted === 'string' ? [wanted] : wanted;
}
