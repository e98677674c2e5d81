import type { ContractBlockers } from '../../contract/app.ts';
import type { Queryable } from '../../platform/pg.ts';
import type { Migration } from '../releases/release.ts';
import type { AppInstance } from './app.ts';
import { liveInstances, tenantsBefore } from './store.ts';
import { isBelow } from './version.ts';

/**
 * A contract step takes away what older versions of the app use. It may run when no running instance is older than it
 * asks for, none works with the schema before it only, and every tenant has all that comes before it: what the step
 * takes away was replaced there, and an app that is new enough for one tenant is so for all.
 */
export interface ContractStep {
  name: string;
  ordinal: number;
  requiresApp: string | undefined;
  /** The last migration before it that is none itself. */
  after: Place | undefined;
}

interface Place {
  name: string;
  ordinal: number;
}

/** A tenant with a database, suspended ones included. */
export interface TenantSchema {
  tenant: string;
  region: string;
  state: string;
  schemaVersion: string | null;
  /** Place of that migration; 0 for none, and for one that was never published. */
  ordinal: number;
}

type ListedMigration = Pick<Migration, 'name' | 'ordinal' | 'phase' | 'requiresApp'>;

/** What keeps the contract steps among `missing` from running; nothing where there is no such step. */
export async function contractBlockers(
  db: Queryable,
  migrations: readonly ListedMigration[],
  missing: readonly string[],
): Promise<ContractBlockers> {
  const steps = contractSteps(migrations, missing);
  if (steps.length === 0) return { steps: [], instances: [], tenants: [], elsewhere: 0 };
  const last = Math.max(...steps.map(({ after }) => after?.ordinal ?? 0));
  return findBlockers(steps, {
    instances: await liveInstances(db),
    tenants: await tenantsBefore(db, last),
    ordinalOf: placesOf(migrations),
  });
}

/** The contract steps among `missing`, in their order. */
export function contractSteps(
  migrations: readonly ListedMigration[],
  missing: readonly string[],
): ContractStep[] {
  const wanted = new Set(missing);
  let after: Place | undefined;
  return migrations.flatMap(({ name, ordinal, phase, requiresApp }) => {
    if (phase === 'contract') return wanted.has(name) ? [{ name, ordinal, requiresApp, after }] : [];
    after = { name, ordinal };
    return [];
  });
}

/** Decides who is behind, and by what. */
export function findBlockers(
  steps: readonly ContractStep[],
  fleet: {
    instances: readonly AppInstance[];
    tenants: readonly TenantSchema[];
    ordinalOf: (migration: string) => number | undefined;
  },
): ContractBlockers {
  return {
    elsewhere: 0,
    steps: steps.map(({ name }) => name),
    instances: fleet.instances.flatMap((instance) => {
      const reason = tooOld(steps, instance) ?? tooNarrow(steps, instance, fleet.ordinalOf);
      if (reason === undefined) return [];
      const { id, region, version, acceptsSchema, lastSeen } = instance;
      return [
        {
          instance: id,
          region,
          appVersion: version,
          acceptsSchema,
          lastSeen: lastSeen.toISOString(),
          reason,
        },
      ];
    }),
    tenants: fleet.tenants.flatMap(({ tenant, region, state, schemaVersion, ordinal }) => {
      const step = steps.find(({ after }) => after !== undefined && ordinal < after.ordinal);
      if (step?.after === undefined) return [];
      return [{ tenant, region, state, schemaVersion, needs: step.after.name }];
    }),
  };
}

function tooOld(steps: readonly ContractStep[], { version }: AppInstance): string | undefined {
  const step = steps.find(({ requiresApp }) => requiresApp !== undefined && isBelow(version, requiresApp));
  return step && `${step.name} requires ${step.requiresApp ?? ''}`;
}

/** Only the upper bound: an app that needs a later schema refuses these tenants before the step as well. */
function tooNarrow(
  steps: readonly ContractStep[],
  { acceptsSchema: { max } }: AppInstance,
  ordinalOf: (migration: string) => number | undefined,
): string | undefined {
  const bound = max === null ? undefined : ordinalOf(max);
  const step = steps.find(({ ordinal }) => bound !== undefined && bound < ordinal);
  return step && `works with schemas up to ${max ?? ''}, which is before ${step.name}`;
}

/** Whatever is not in the list is behind its end. */
function placesOf(migrations: readonly ListedMigration[]): (name: string) => number | undefined {
  const places = new Map(migrations.map(({ name, ordinal }) => [name, ordinal]));
  return (name) => places.get(name);
}

export function isBlocked({ instances, tenants, elsewhere }: ContractBlockers): boolean {
  return instances.length + tenants.length + elsewhere > 0;
}

/** What a reader is told who may see `regions`; null means all. */
export function blockersIn(blockers: ContractBlockers, regions: readonly string[] | null): ContractBlockers {
  if (regions === null) return blockers;
  const instances = blockers.instances.filter(({ region }) => regions.includes(region));
  const tenants = blockers.tenants.filter(({ region }) => regions.includes(region));
  const hidden = blockers.instances.length - instances.length + blockers.tenants.length - tenants.length;
  return { ...blockers, instances, tenants, elsewhere: blockers.elsewhere + hidden };
}
