import type { ServerMode, ServerState } from '../../contract/server.ts';
import type { PlacementReport, Tier } from '../../contract/tenant.ts';

/** What placement looks at in a server. */
export interface Candidate {
  id: string;
  name: string;
  region: string;
  mode: ServerMode;
  state: ServerState;
  reachable: boolean;
  databases: number;
  maxDatabases: number;
  connections: number;
  maxConnections: number;
}

export interface PlacementRequest {
  region: string;
  tier: Tier;
  /** Connections to reserve. */
  connectionLimit: number;
}

export type Placement =
  { chosen: Candidate; report: PlacementReport } | { chosen: undefined; considered: Verdict[] };

type Verdict = PlacementReport['considered'][number];

/**
 * Chooses the server of a new database. Pure, and independent of the order of `candidates`: ties fall to the
 * first name.
 *
 * - `standard` fills the fullest shared server that has room. Small tenants packed together leave whole
 *   servers empty, which are the room for premium tenants and can be drained or given back.
 * - `premium` goes to the emptiest shared server: it pays for few neighbours.
 * - `enterprise` takes the smallest dedicated server that is empty and large enough; it stays alone there.
 */
export function planPlacement(request: PlacementRequest, candidates: Candidate[]): Placement {
  const judged = [...candidates]
    .sort((a, b) => compareText(a.name, b.name) || compareText(a.id, b.id))
    .map((candidate) => ({ candidate, refusal: refusalOf(request, candidate) }));
  const fitting = judged.filter((entry) => entry.refusal === undefined).map((entry) => entry.candidate);
  const chosen = fitting.toSorted(PREFERENCES[request.tier]).at(0);
  const considered = judged.map(({ candidate, refusal }) => ({
    server: candidate.name,
    verdict:
      refusal ?? (candidate === chosen ? `chosen: ${roomOf(candidate)}` : `fits: ${roomOf(candidate)}`),
  }));
  if (chosen === undefined) return { chosen, considered };
  const reason = `${REASONS[request.tier]} in ${request.region} (${roomOf(chosen)})`;
  return { chosen, report: { server: chosen.name, reason, considered } };
}

const REASONS: Record<Tier, string> = {
  standard: 'the fullest shared server with room',
  premium: 'the emptiest shared server',
  enterprise: 'the smallest free dedicated server',
};

const PREFERENCES: Record<Tier, (a: Candidate, b: Candidate) => number> = {
  standard: (a, b) => fullness(b) - fullness(a),
  premium: (a, b) => fullness(a) - fullness(b),
  enterprise: (a, b) => a.maxConnections - b.maxConnections,
};

/** The kind of server that a tier's databases live on. */
export function modeOf(tier: Tier): ServerMode {
  return tier === 'enterprise' ? 'dedicated' : 'shared';
}

/** `a standard tenant`, `an enterprise tenant` */
export function tenantOf(tier: Tier): string {
  return `${tier === 'enterprise' ? 'an' : 'a'} ${tier} tenant`;
}

/** The share that is taken of whatever is scarcer, from 0 to 1. */
function fullness(server: Candidate): number {
  return Math.max(server.databases / server.maxDatabases, server.connections / server.maxConnections);
}

function roomOf(server: Candidate): string {
  const databases = `${server.databases} of ${server.maxDatabases} databases`;
  return `${databases}, ${server.connections} of ${server.maxConnections} connections taken`;
}

/** Why the server cannot take the database; undefined when it can. */
function refusalOf(request: PlacementRequest, server: Candidate): string | undefined {
  const mode = modeOf(request.tier);
  if (server.region !== request.region) return `is in region ${server.region}`;
  if (server.mode !== mode) return `is ${server.mode}; ${tenantOf(request.tier)} needs a ${mode} server`;
  if (server.state !== 'ready') return `is ${server.state}`;
  if (!server.reachable) return 'did not answer when it was last checked';
  if (mode === 'dedicated' && server.databases > 0) return 'already belongs to another tenant';
  if (server.databases + 1 > server.maxDatabases)
    return `is full: ${server.databases} of ${server.maxDatabases} databases`;
  if (server.connections + request.connectionLimit > server.maxConnections) {
    const left = Math.max(0, server.maxConnections - server.connections);
    return `has ${left} of ${server.maxConnections} connections left, ${request.connectionLimit} are needed`;
  }
  return undefined;
}

/** Compares code units, so that the result does not hang on the machine's locale. */
function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
