/**
 * Targets of `base` that a count or a share bears, exactly: 1 of 50 is 2 %, which is more than 1 %, so that 1 % of 50
 * bears none. A share is compared, never rounded up.
 */
export function borne(limit: number | string | undefined, base: number): number {
  if (limit === undefined) return 0;
  if (typeof limit === 'number') return limit;
  // 7 % of 100 is 7.000000000000001 in binary: whole numbers have no such rest.
  const [whole = '0', fraction = ''] = limit.slice(0, -1).split('.');
  return Number((BigInt(whole + fraction) * BigInt(base)) / (100n * 10n ** BigInt(fraction.length)));
}
