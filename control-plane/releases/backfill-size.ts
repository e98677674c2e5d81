/**
 * How many rows the next chunk of a backfill takes. A chunk holds the locks of its rows for as long as it lasts: short
 * for the tenant's own writers, long against the cost of a transaction.
 */
export interface ChunkLimits {
  /** Milliseconds that a chunk should take. */
  targetMs: number;
  minRows: number;
  maxRows: number;
}

/** Half a second: a writer that meets a chunk's rows waits no longer than people call prompt. */
const TARGET_MS = 500;
/** Below ten rows, it is not the number of rows that makes a chunk slow or fail. */
const MIN_ROWS = 10;
/** Rows of a few hundred bytes: some 20 MB of WAL at once, which a replica replays in well under a second. */
const MAX_ROWS = 100_000;

export const CHUNK_LIMITS: ChunkLimits = { targetMs: TARGET_MS, minRows: MIN_ROWS, maxRows: MAX_ROWS };

/**
 * Growing by a fifth at most takes a dozen chunks to ten times the rows, so that no chunk surprises; after GitLab's
 * batch optimizer.
 */
const MOST_GROWTH = 1.2;

/** After a chunk that went through: in proportion to the time it took, upwards slowly, downwards at once. */
export function sizeAfterChunk(
  size: number,
  chunk: { rows: number; ms: number },
  limits: ChunkLimits = CHUNK_LIMITS,
): number {
  // The rest at the end of a pass tells nothing of full chunks, unless even that was too slow.
  if (chunk.rows < size && chunk.ms <= limits.targetMs) return size;
  const rows = Math.min(chunk.rows, size);
  const factor = Math.min(MOST_GROWTH, limits.targetMs / Math.max(chunk.ms, 1));
  return clamp(factor > 1 ? Math.ceil(rows * factor) : Math.floor(rows * factor), limits);
}

/** After a chunk of `rows` that failed: half of it, down to the least. */
export function sizeAfterFailure(rows: number, limits: ChunkLimits = CHUNK_LIMITS): number {
  return clamp(Math.floor(rows / 2), limits);
}

function clamp(rows: number, { minRows, maxRows }: ChunkLimits): number {
  return Math.min(Math.max(rows, minRows), maxRows);
}
