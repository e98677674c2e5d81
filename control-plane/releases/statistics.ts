/** What applying or reverting one migration took; stored with the target. */
export interface MigrationStatistics {
  name: string;
  /** From the first try to the record, waits included. */
  durationMs: number;
  /**
   * Until the try that got its locks: tries that waited in vain, and the pauses between. What the last try itself
   * waited, at most `lock_timeout` a statement, only the server could tell, and it does not.
   */
  lockWaitMs: number;
  /** Rows inserted, updated, deleted or copied by the migration's own statements. */
  rows: number;
  /** Of a migration outside a transaction, whose statements are sent one by one; in order, without those done before. */
  statements?: StatementStatistics[];
}

export interface StatementStatistics {
  /** The first word of the server's command tag, e.g. `CREATE`; `nothing` where the effect was there already. */
  command: string;
  durationMs: number;
  rows: number;
}

/** What the driver says about one statement of a script. */
export interface StatementResult {
  command: string | null;
  rowCount: number | null;
  fields: readonly unknown[];
  rows: readonly Record<string, unknown>[];
}

/** A migration that went through, and what it did to the schema's stamp. */
export interface MigrationRun {
  step: MigrationStatistics;
  /** Rows that it wrote in the catalogues (stamp.ts); null where they were not counted. */
  changes: number | null;
}

/** Rows that the statements changed. A SELECT with columns only reads; without any it is CREATE TABLE AS. */
export function changedRows(results: readonly StatementResult[]): number {
  return results
    .filter(({ command, fields }) => command !== 'SELECT' || fields.length === 0)
    .reduce((sum, { rowCount }) => sum + (rowCount ?? 0), 0);
}

/** What all together waited and changed. */
export function totals(steps: readonly MigrationStatistics[]): { lockWaitMs: number; rows: number } {
  return {
    lockWaitMs: steps.reduce((sum, step) => sum + step.lockWaitMs, 0),
    rows: steps.reduce((sum, step) => sum + step.rows, 0),
  };
}
