import PQueue from 'p-queue';
import { summarizeError } from '../../../platform/errors.ts';
import type { Logger } from '../../../platform/logging.ts';
import type { trafficOf } from '../../apps/traffic.ts';
import type { Registry } from '../../registry/registry.ts';
import type { ServerAccess } from '../../servers/access.ts';
import type { Reading } from './gate.ts';
import { noAnswer } from './reading.ts';
import type { GateTarget } from './store.ts';

/** What exactly these databases' tenants were asked between two instants. */
export type TrafficOf = typeof trafficOf;

export interface SourceDeps {
  registry: Registry;
  servers: ServerAccess;
  logger: Logger;
  /** Another source than what tenant apps report, in tests. */
  trafficOf?: TrafficOf | undefined;
}

/** What one measurement is about. */
export interface Subject {
  /** Migrated databases, in the order of the plan. */
  targets: GateTarget[];
  /** The same and those that are being migrated or have failed. */
  touched: GateTarget[];
  /** The first verified database of the rollout on each major version of PostgreSQL. */
  canaries: GateTarget[];
  /** Nothing of what is looked at was touched before this instant; null: nobody knows. */
  before: Date | null;
  now: Date;
  signal: AbortSignal;
}

/** A connection and a query are 20 ms, most of them the server's. Four at once leave it to its tenants. */
const PER_SERVER = 4;
/** Over all servers: as many as this process can wait for without starving what it migrates. */
const IN_ALL = 32;

/** Asks each database, a few at a time on each server. What one of them throws is its answer, an error. */
export async function askEach(
  deps: Pick<SourceDeps, 'logger'>,
  subject: Pick<Subject, 'signal'>,
  targets: readonly GateTarget[],
  ask: (target: GateTarget) => Promise<Reading>,
): Promise<Reading[]> {
  const all = new PQueue({ concurrency: IN_ALL });
  const servers = [...new Set(targets.map(({ serverId }) => serverId))];
  const perServer = new Map(servers.map((id) => [id, new PQueue({ concurrency: PER_SERVER })]));
  const readOne = async (target: GateTarget): Promise<Reading> => {
    subject.signal.throwIfAborted();
    try {
      return { ...(await ask(target)), tenant: target.tenant };
    } catch (error) {
      subject.signal.throwIfAborted();
      deps.logger.warn('a gate got no answer from a database', { tenant: target.tenant.slug, error });
      return { ...noAnswer(`no answer: ${codeOf(error)}`), tenant: target.tenant };
    }
  };
  const queued = targets.map(async (target) => {
    const read = await perServer.get(target.serverId)?.add(() => all.add(() => readOne(target)));
    return read ?? noAnswer('no answer');
  });
  return Promise.all(queued);
}

/** The code alone: a message of PostgreSQL may quote a tenant's data, and all readers see it. */
export function codeOf(error: unknown): string {
  return summarizeError(error).code;
}
