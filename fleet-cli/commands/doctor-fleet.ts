import type { Operation } from '../../contract/operation.ts';
import type { RolloutSummary } from '../../contract/rollout.ts';
import type { Server } from '../../contract/server.ts';
import { unreachableServers } from '../attention.ts';

/** What the doctor says of one thing; only `fail` makes the command fail. */
export interface Check {
  check: string;
  result: 'ok' | 'warn' | 'fail';
  message: string;
  /** The next command, or what to do. */
  fix?: string;
}

/** Findings of one kind that are told one by one; a mass failure has one cause, and the list has the rest. */
const TOLD = 5;

export function checkServers(servers: Server[]): Check[] {
  const check = 'servers';
  if (servers.length === 0) {
    const fix = 'fleet server create NAME --region REGION, or fleet server add';
    return [{ check, result: 'warn', message: 'there are none: no tenant can be placed', fix }];
  }
  const lost = unreachableServers(servers);
  if (lost.length === 0) return [{ check, result: 'ok', message: `all ${servers.length} are reachable` }];
  const findings = lost.map(({ name, host, port }) => ({
    message: `${name} at ${host}:${port} is unreachable`,
    fix: `check that PostgreSQL runs there, then fleet server get ${name}`,
  }));
  return warnings(check, findings, 'fleet server list');
}

/** Instances on RDS that somebody has changed there, as the control plane last saw them. */
export function checkInstances(servers: Server[]): Check[] {
  const check = 'instances';
  const onRds = servers.filter(({ instance }) => instance !== null);
  if (onRds.length === 0) return [];
  const differing = onRds.filter(({ instance }) => (instance?.drift ?? []).length > 0);
  if (differing.length === 0)
    return [{ check, result: 'ok', message: `all ${onRds.length} are as the registry has them` }];
  const findings = differing.map(({ name, instance }) => ({
    message: `${name} differs in RDS: ${(instance?.drift ?? []).map(({ what }) => what).join(', ')}`,
    fix: `fleet server get ${name}`,
  }));
  return warnings(check, findings, 'fleet drift check --servers');
}

/** A halt waits for a person, and nothing else can be rolled out meanwhile. */
export function checkRollouts(open: RolloutSummary[]): Check[] {
  const check = 'rollouts';
  const halted = open.filter((rollout) => rollout.state === 'halted');
  if (halted.length === 0) return [{ check, result: 'ok', message: 'none is halted' }];
  const findings = halted.map(({ id, release, cause }) => ({
    message: `${id} of release ${release} is halted${cause === null ? '' : `: ${cause.message}`}`,
    fix: `fleet rollout get ${id}, then fleet rollout retry ${id} or fleet rollout abort ${id}`,
  }));
  return warnings(check, findings, 'fleet rollout list --state halted');
}

export function checkOperations(failed: Operation[]): Check[] {
  const check = 'operations';
  if (failed.length === 0) return [{ check, result: 'ok', message: 'none failed in the last 24 h' }];
  const findings = failed.map(({ id, kind, subjectName, error }) => ({
    message: `${kind} of ${subjectName} failed${error === null ? '' : `: ${error.message}`}`,
    fix: `fleet operation get ${id}, then fleet operation retry ${id}`,
  }));
  return warnings(check, findings, 'fleet operation list --state failed');
}

function warnings(check: string, findings: { message: string; fix: string }[], all: string): Check[] {
  const told = findings.slice(0, TOLD).map((finding) => ({ check, result: 'warn' as const, ...finding }));
  const more = findings.length - TOLD;
  if (more <= 0) return told;
  return [...told, { check, result: 'warn', message: `and ${more} more`, fix: all }];
}
