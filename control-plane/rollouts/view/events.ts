import type { RolloutChange, RolloutEvent } from '../../../contract/progress.ts';
import type { Queryable } from '../../../platform/pg.ts';
import type { ChainedEntry } from '../../audit/audit.ts';
import { listEntries } from '../../audit/store.ts';
import { causeView } from '../cause.ts';
import { lastWaveChanges, type ChangeRow } from './change-store.ts';
import { findSpokenOf } from './progress-store.ts';
import { ENGINE_ACTOR } from '../rollout.ts';

/** What has happened to a rollout, in words: what people and the engine did, and what became of the waves. */

/** Verbs whose own word says less than it could. `it` is the tenant, server or waves that they are about. */
const WORDS: Record<string, (it: string) => string> = {
  plan: () => 'planned',
  start: () => 'started',
  queue: () => 'put in the queue',
  dequeue: () => 'taken out of the queue',
  submit: (it) => `waits for an approval${it === '' ? '' : ` behind ${it}`}`,
  approve: (it) => `approved${it === '' ? '' : ` ${it}`}`,
  promote: () => 'promoted',
  retry: () => 'retried what failed',
  skip: (it) => `left ${it === '' ? 'a tenant' : it} behind`,
  force: () => 'cancels running statements',
  halt: () => 'halted',
  succeed: () => 'succeeded',
  server_lost: (it) => `${it === '' ? 'a server' : `server ${it}`} does not answer`,
  server_back: (it) => `${it === '' ? 'a server' : `server ${it}`} answers again`,
  supersede: () => 'gave way to another rollout',
  pass_empty: (it) =>
    `has no target in wave ${it}: all that fit are at the release already, or in another wave`,
  pause: () => 'paused',
  resume: () => 'resumed',
  abort: () => 'aborted',
  undo: () => 'undone by a rollout of its own',
};

/** What an entry says beside its action; our own slices wrote it. */
interface Said {
  tenant?: unknown;
  server?: unknown;
  waves?: unknown;
  cause?: { message?: unknown };
}

/** The last `limit`, newest first. Tenants and servers are named where the reader may see their region. */
export async function lastEvents(
  db: Queryable,
  rolloutId: string,
  { regions, limit }: { regions: string[] | null; limit: number },
): Promise<RolloutEvent[]> {
  const entries = await listEntries(db, { resource: `rollout:${rolloutId}`, regions: null, limit });
  const changes = await lastWaveChanges(db, rolloutId, limit);
  const called = entries.flatMap((entry) => calledIn(entry) ?? []);
  const spokenOf = await findSpokenOf(db, called);
  const nameOf = (entry: ChainedEntry): string => {
    const found = spokenOf.get(calledIn(entry) ?? '');
    return found !== undefined && (regions === null || regions.includes(found.region)) ? found.name : '';
  };
  const events = [...entries.map((entry) => entryEvent(entry, nameOf(entry))), ...changes.map(waveEvent)];
  return events.sort((a, b) => b.at.localeCompare(a.at)).slice(0, limit);
}

function saidIn({ after }: ChainedEntry): Said {
  return typeof after === 'object' && after !== null ? after : {};
}

function calledIn(entry: ChainedEntry): string | undefined {
  const { tenant, server } = saidIn(entry);
  return [tenant, server].find((name) => typeof name === 'string');
}

function entryEvent(entry: ChainedEntry, name: string): RolloutEvent {
  const said = saidIn(entry);
  const verb = entry.action.replace(/^rollout\./, '');
  const it = Array.isArray(said.waves) ? said.waves.join(', ') : name;
  const words = WORDS[verb]?.(it) ?? verb.replaceAll('_', ' ');
  const why = said.cause?.message;
  return {
    at: entry.at,
    actor: entry.actor,
    what: typeof why === 'string' ? `${words}: ${why}` : words,
    reason: entry.reason,
  };
}

function waveEvent({ at, wave, from, to }: ChangeRow): RolloutEvent {
  const verb = from === 'failed' && to === 'running' ? 'runs again' : (WAVE_WORDS[to] ?? `is ${to}`);
  return { at: at.toISOString(), actor: ENGINE_ACTOR, what: `wave ${wave ?? ''} ${verb}`, reason: null };
}

const WAVE_WORDS: Record<string, string> = {
  running: 'began',
  baking: 'is through, and bakes',
  gating: 'waits for its gates',
  passed: 'passed',
  failed: 'failed',
};

/** A change as the stream tells it to a reader of `regions`. */
export function changeView({ cause, at, ...change }: ChangeRow, regions: string[] | null): RolloutChange {
  return { ...change, at: at.toISOString(), cause: causeView(cause, regions) };
}
