import type { Config, RdsSite } from '../../../../platform/config.ts';
import { FleetError } from '../../../../platform/errors.ts';
import type { Instances } from './instances.ts';

/** RDS as this fleet is configured to use it. */
export interface Rds {
  /** Of this fleet, in names and tags. */
  fleet: string;
  instances: Instances;
  /** @throws FleetError 409 `rds_not_configured` */
  siteOf(region: string): RdsSite;
  hasSite(region: string): boolean;
  /** Those that have a site. */
  regions: string[];
  /**
   * Development only: identifiers and host names of instances to the PostgreSQL that stands for each. Not empty, no
   * instance is reached otherwise.
   */
  standIns: Record<string, string>;
}

/** RDS where a region has a site for it. Whoever does not use it does not pay for loading its SDK at each start. */
export async function openRds(config: Config): Promise<Rds | undefined> {
  if (Object.keys(config.rdsSites).length === 0) return undefined;
  const { awsInstances } = await import('./aws.ts');
  return rdsWith(config, awsInstances(config.awsRegions));
}

/** The same on given instances. */
export function rdsWith(
  config: Pick<Config, 'fleetName' | 'rdsSites' | 'rdsEndpoints'>,
  instances: Instances,
): Rds {
  const { rdsSites, rdsEndpoints: standIns } = config;
  const isEmulated = Object.keys(standIns).length > 0;
  return {
    fleet: config.fleetName,
    // Emulators count no quotas, and answer as if they were down when asked.
    instances: isEmulated ? { ...instances, quotas: () => Promise.resolve([]) } : instances,
    standIns,
    regions: Object.keys(rdsSites),
    hasSite: (region) => Object.hasOwn(rdsSites, region),
    siteOf: (region) => {
      const site = Object.hasOwn(rdsSites, region) ? rdsSites[region] : undefined;
      if (site === undefined) throw rdsNotConfigured(region);
      return site;
    },
  };
}

/** @returns 409 `rds_not_configured` */
export function rdsNotConfigured(region: string): FleetError {
  return new FleetError({
    code: 'rds_not_configured',
    status: 409,
    message: `nothing says where on RDS servers of ${region} stand`,
    fix: `add ${region} to FLEET_AWS_REGIONS and FLEET_RDS_SITES (docs/aws.md), and restart the control plane`,
  });
}
