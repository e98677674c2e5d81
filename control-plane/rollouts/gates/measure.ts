import { readCheck } from './check-source.ts';
import type { GateSpec } from '../../../contract/gate.ts';
import type { Gate, Reading } from './gate.ts';
import { readHttp, readPrometheus } from './http-source.ts';
import { noAnswer } from './reading.ts';
import { codeOf, type SourceDeps, type Subject } from './source.ts';
import type { GateTarget } from './store.ts';
import { findCanary } from './schema-source.ts';
import { readSql } from './sql-source.ts';
import { readTraffic } from './traffic-source.ts';

/**
 * Measures a gate once. Undefined where there is nothing yet that it could look at: no database is migrated.
 * @throws what `subject.signal` was aborted with; whatever else goes wrong is an answer, an error
 */
export async function measureGate(
  deps: SourceDeps,
  gate: Gate,
  subject: Subject,
): Promise<Reading | undefined> {
  try {
    return await read(deps, gate, subject);
  } catch (error) {
    subject.signal.throwIfAborted();
    deps.logger.warn('a gate could not be measured', { gate: gate.name, error });
    return noAnswer(`no answer: ${codeOf(error)}`);
  }
}

async function read(deps: SourceDeps, { spec }: Gate, subject: Subject): Promise<Reading | undefined> {
  if ('http' in spec) return readHttp(spec, subject.signal);
  if ('prometheus' in spec) return readPrometheus(spec, subject.signal);
  if (lookedAt(spec, subject).length === 0) return undefined;
  if ('sql' in spec) return readSql(deps, spec, subject);
  if ('check' in spec) return readCheck(deps, spec, subject);
  return readTraffic(deps, spec, subject);
}

function lookedAt(spec: GateSpec, subject: Subject): GateTarget[] {
  const check = 'check' in spec ? spec.check : undefined;
  if (check === 'blocked_sessions' || check === 'replication_lag') return subject.touched;
  // Nothing to compare with before one of its kind is done: the end of the wave looks at all of them.
  if (check === 'schema' && !subject.targets.some((target) => findCanary(subject, target) !== undefined))
    return [];
  return subject.targets;
}
