/** Age of an instant in one unit, as `42s`, `7m`, `3h` or `12d`. */
export function age(instant: string | null, now = Date.now()): string | undefined {
  if (instant === null) return undefined;
  const seconds = Math.max(0, Math.round((now - Date.parse(instant)) / 1_000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

/** The time between two instants in seconds with one decimal, up to now when the second is absent. */
export function lasted(from: string | null, to: string | null, now = Date.now()): string | undefined {
  if (from === null) return undefined;
  const ms = (to === null ? now : Date.parse(to)) - Date.parse(from);
  return `${(Math.max(0, ms) / 1_000).toFixed(1)}s`;
}
