/** Exit codes: part of the contract with scripts, never renumbered. */
export const EXIT = {
  ok: 0,
  failed: 1,
  /** Wrong flags, wrong input, or a confirmation that was not given. */
  usage: 2,
  /** Not found, or in conflict with the present state. */
  conflict: 3,
  /** Not authenticated, or not allowed. */
  denied: 4,
  /** The command was accepted, but its operation or rollout ended unhealthy. */
  unhealthy: 5,
  /** `--detailed-exitcode` found something to change. */
  changes: 6,
  /** 128 + SIGINT, as shells count. */
  interrupted: 130,
} as const;

/** The exit code that belongs to an error answer of the API. */
export function exitCodeOfStatus(status: number): number {
  if (status === 401 || status === 403) return EXIT.denied;
  if (status === 404 || status === 409 || status === 410 || status === 412) return EXIT.conflict;
  if (status === 400 || status === 422 || status === 413 || status === 415) return EXIT.usage;
  return EXIT.failed;
}
