/**
 * The numbers of the fleet's advisory locks, all in one place so that no two things wait for each other by
 * chance. Locks of one name each (an idempotency key, a tenant's database, a worker's life) have 64-bit keys
 * made of that name or of chance, and are where they are taken. In tenants' databases only node-pg-migrate's
 * own lock is used (releases/bookkeeping.ts).
 */
export const ADVISORY_LOCKS = {
  /** Registry: one program at a time brings its schema up. */
  registryMigration: 7710,
  /** Registry: route versions are given in commit order. Taken in SQL (migrations/registry/0009_routes.sql). */
  routeClock: 7711,
  /** Registry: one boot at a time makes the first keys and regions. */
  bootstrap: 7712,
  /** Registry, first half of a pair whose second is the region's hash: who takes or offers room in the region. */
  placement: 7713,
  /** Registry: between those who bring a tenant into the fleet and a rollout that declares all done. */
  membership: 7714,
  /** Registry: one start of a rollout at a time looks whether another is active. */
  activeRollout: 7715,
  /** Registry: publishing reads the list of migrations and appends to it. */
  publish: 7720,
  /** A server's admin database: one template is built or dropped at a time. */
  template: 7721,
} as const;
