import { isAws } from '../../../../platform/aws/failures.ts';
import { FleetError } from '../../../../platform/errors.ts';
import { quotaError } from './quota.ts';

/** Names of errors of RDS that are told apart, as its model has them. */
export const RDS_ERROR = {
  noInstance: 'DBInstanceNotFoundFault',
  instanceExists: 'DBInstanceAlreadyExistsFault',
  noSnapshot: 'DBSnapshotNotFoundFault',
  snapshotExists: 'DBSnapshotAlreadyExistsFault',
  wrongState: 'InvalidDBInstanceStateFault',
  snapshotBusy: 'InvalidDBSnapshotStateFault',
  keyUnusable: 'KMSKeyNotAccessibleFault',
  noCapacity: 'InsufficientDBInstanceCapacityFault',
} as const;

const QUOTAS = ['InstanceQuotaExceededFault', 'StorageQuotaExceededFault', 'SnapshotQuotaExceededFault'];

/**
 * A failed call of RDS as a FleetError with its cure. What all of AWS has in common was translated before.
 * @returns `rds_quota`, `rds_key_unusable`, `rds_no_capacity`, `rds_wrong_state`, or `rds_refused` with RDS's own words
 */
export function translateRds(error: unknown, call: { awsRegion: string; action: string }): unknown {
  if (!(error instanceof Error) || error instanceof FleetError) return error;
  const { awsRegion, action } = call;
  if (isAws(error, ...QUOTAS)) return quotaError(error.message, awsRegion, error);
  if (isAws(error, RDS_ERROR.keyUnusable)) {
    return new FleetError({
      code: 'rds_key_unusable',
      status: 502,
      message: `RDS in ${awsRegion} cannot use the KMS key for ${action}: ${error.message}`,
      fix: "enable the key, allow RDS its use in the key's policy, check `kmsKey` in FLEET_RDS_SITES; then try again",
      cause: error,
    });
  }
  if (isAws(error, RDS_ERROR.noCapacity)) {
    return new FleetError({
      code: 'rds_no_capacity',
      status: 503,
      message: `RDS in ${awsRegion} has no instance of this class left at the moment`,
      fix: 'try again later, or with another --class',
      cause: error,
    });
  }
  if (isAws(error, RDS_ERROR.wrongState, RDS_ERROR.snapshotBusy)) return wrongState(error, call);
  if (!('$metadata' in error)) return error;
  return new FleetError({
    code: 'rds_refused',
    status: 422,
    message: `RDS in ${awsRegion} refuses ${action} (${error.name}): ${error.message}`,
    fix: 'correct what it names, in the request or in FLEET_RDS_SITES; then try again',
    cause: error,
  });
}

/** What RDS does not do to an instance that is just being changed otherwise: mostly it passes. */
export const WRONG_STATE = 'rds_wrong_state';

function wrongState(cause: Error, { awsRegion, action }: { awsRegion: string; action: string }): FleetError {
  return new FleetError({
    code: WRONG_STATE,
    status: 409,
    message: `RDS in ${awsRegion} does not do ${action} now: ${cause.message}`,
    fix: 'see the status of the instance in RDS, then try again',
    cause,
  });
}
