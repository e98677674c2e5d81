import { FleetError } from '../../../../platform/errors.ts';

/** One of an account's limits in a region, as RDS counts it. */
export interface Quota {
  name: string;
  used: number;
  max: number;
}

/** Names of RDS for the limits that a new instance counts against. Storage is in GiB. */
const NEEDS = [
  { name: 'DBInstances', what: 'instances', need: () => 1 },
  { name: 'AllocatedStorage', what: 'GiB of storage', need: (storageGib: number) => storageGib },
];

/** The error for an instance that the account has no room for; undefined when it has. Pure. */
export function quotaProblem(
  quotas: Quota[],
  wanted: { storageGib: number; awsRegion: string },
): FleetError | undefined {
  for (const { name, what, need } of NEEDS) {
    const quota = quotas.find((candidate) => candidate.name === name);
    const needed = need(wanted.storageGib);
    if (quota === undefined || quota.used + needed <= quota.max) continue;
    return quotaError(
      `${quota.used} of ${quota.max} ${what} are taken, and ${needed} more are needed`,
      wanted.awsRegion,
    );
  }
  return undefined;
}

/** @returns 409 `rds_quota` */
export function quotaError(reason: string, awsRegion: string, cause?: unknown): FleetError {
  return new FleetError({
    code: 'rds_quota',
    status: 409,
    message: `the AWS account has no room for another instance in ${awsRegion}: ${reason}`,
    fix: `have the quotas of RDS raised in ${awsRegion} (Service Quotas), or delete instances there; then try again`,
    cause,
  });
}
