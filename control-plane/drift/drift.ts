import type { DriftCheckState, DriftCounts } from '../../contract/drift.ts';
import { FleetError, type ErrorSummary } from '../../platform/errors.ts';
import { schemaDiff } from '../releases/schema-diff.ts';
import type { Schema } from '../releases/schema.ts';
import type { SchemaStamp } from '../releases/stamp.ts';

/** How a database's schema stands to the one that its migrations make. */
export interface Comparison {
  verdict: 'same' | 'drifted' | 'accepted';
  /** Unified diff from the expected schema to the found one, and the same in words; empty where they are the same. */
  diff: string;
  changes: string[];
  /** Names the difference alone, whatever it differs from: what is accepted. Null where nothing differs. */
  difference: string | null;
}

/**
 * Pure. `accepted` is the difference that a person has accepted of this database (store.ts `acceptedDifferences`).
 */
export function compareFingerprint(found: Schema, expected: Schema, accepted: string | null): Comparison {
  if (found.fingerprint === expected.fingerprint) {
    return { verdict: 'same', diff: '', changes: [], difference: null };
  }
  const { diff, changes, digest } = schemaDiff(expected.description, found.description, {
    before: 'expected',
    after: 'found',
  });
  return { verdict: digest === accepted ? 'accepted' : 'drifted', diff, changes, difference: digest };
}

/** What a look at one database said. */
export interface Finding {
  databaseId: string;
  tenant: string;
  region: string;
  schemaVersion: string | null;
  fingerprint: string;
  expected: string;
  comparison: Comparison;
  /** Of the schema that was compared; null where the server does not count. */
  stamp: SchemaStamp | null;
}

/** A database that could not be looked at, or not now. */
export interface Unread {
  databaseId: string;
  tenant: string;
  region: string;
  /** Null: it is being migrated. */
  error: ErrorSummary | null;
}

export type Look = Finding | Unread;

export function isFinding(look: Look): look is Finding {
  return 'comparison' in look;
}

export function isUnread(look: Look): look is Unread {
  return !isFinding(look);
}

export const NO_COUNTS: DriftCounts = { same: 0, drifted: 0, accepted: 0, busy: 0, unread: 0 };

export function countLooks(before: DriftCounts, looks: readonly Look[]): DriftCounts {
  const counts = { ...before };
  for (const look of looks) {
    counts[isFinding(look) ? look.comparison.verdict : look.error === null ? 'busy' : 'unread'] += 1;
  }
  return counts;
}

export type DriftCheckEvent = 'start' | 'succeed' | 'fail';

const TRANSITIONS: Record<DriftCheckState, Partial<Record<DriftCheckEvent, DriftCheckState>>> = {
  queued: { start: 'running', fail: 'failed' },
  // Started again by the next owner: what was looked at is looked at once more.
  running: { start: 'running', succeed: 'succeeded', fail: 'failed' },
  succeeded: {},
  failed: {},
};

/** The state after `event`, or undefined when the event has no meaning in this state. Total and pure. */
export function transitionCheck(state: DriftCheckState, event: DriftCheckEvent): DriftCheckState | undefined {
  return TRANSITIONS[state][event];
}

/** Changes told in an error: enough to recognise the drift; `fleet drift list --diff` has all. */
const CHANGES_TOLD = 3;

/** Why a rollout leaves a database alone: its schema is not what the migrations were written for. */
export function schemaDrifted(tenant: string, changes: readonly string[]): FleetError {
  const told = changes.slice(0, CHANGES_TOLD).join('; ');
  const more = changes.length > CHANGES_TOLD ? ` and ${changes.length - CHANGES_TOLD} more` : '';
  return new FleetError({
    code: 'schema_drifted',
    status: 409,
    message: `the schema of ${tenant} is not what its migrations make: ${told}${more}`,
    fix:
      `fleet drift list --tenant ${tenant} --diff; then mend it and fleet drift check --tenant ${tenant}, ` +
      `or fleet drift accept ${tenant} --reason TEXT`,
  });
}

export function checkNotFound(id: string): FleetError {
  return new FleetError({
    code: 'drift_check_not_found',
    status: 404,
    message: `there is no drift check ${id}`,
    fix: 'fleet drift check',
  });
}
