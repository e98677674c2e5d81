import type { Quota } from './quota.ts';
import type { Instance, InstanceSpec } from './instance.ts';

/** What a new instance is ordered with. Holds the password: for the call only. */
export interface Order {
  region: string;
  identifier: string;
  spec: InstanceSpec;
  tags: Record<string, string>;
  password: string;
}

/** What of an instance can be changed while it lives. */
export type Changes = Partial<
  Pick<
    InstanceSpec,
    'engineVersion' | 'instanceClass' | 'storageGib' | 'multiAz' | 'backupDays' | 'deletionProtection'
  >
>;

export interface Snapshot {
  identifier: string;
  status: string;
  percent: number;
  sourceInstance: string;
}

/** One instance, in a region of the fleet. */
export interface Place {
  region: string;
  identifier: string;
}

/**
 * Instances on RDS. One call of AWS each; RDS knows no token of the caller's, so whoever orders looks first. All throw
 * FleetErrors: `aws_access_denied`, `aws_not_authenticated`, `aws_throttled` and `aws_unavailable` (both pass by
 * themselves), `rds_quota`, `rds_key_unusable`, `rds_no_capacity`, `rds_wrong_state`, `rds_refused`.
 */
export interface Instances {
  find(place: Place): Promise<Instance | undefined>;
  list(region: string): Promise<Instance[]>;
  quotas(region: string): Promise<Quota[]>;
  /** Does nothing when there is one of the name: look whose it is. */
  create(order: Order): Promise<void>;
  change(place: Place, changes: Changes): Promise<void>;
  tag(region: string, arn: string, tags: Record<string, string>): Promise<void>;
  stop(place: Place): Promise<void>;
  start(place: Place): Promise<void>;
  /** Harmless when it is gone. */
  remove(place: Place, finalSnapshot: string | null): Promise<void>;
  findSnapshot(place: Place): Promise<Snapshot | undefined>;
  /** Does nothing when there is one of the name. */
  createSnapshot(place: Place, snapshot: string, tags: Record<string, string>): Promise<void>;
  /** Harmless when it is gone. */
  removeSnapshot(place: Place): Promise<void>;
  close(): void;
}
