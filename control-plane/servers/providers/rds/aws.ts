import {
  AddTagsToResourceCommand,
  CreateDBInstanceCommand,
  CreateDBSnapshotCommand,
  DeleteDBInstanceCommand,
  DeleteDBSnapshotCommand,
  DescribeAccountAttributesCommand,
  DescribeDBInstancesCommand,
  DescribeDBSnapshotsCommand,
  ModifyDBInstanceCommand,
  RDSClient,
  StartDBInstanceCommand,
  StopDBInstanceCommand,
  type DBInstance,
} from '@aws-sdk/client-rds';
import {
  awsClientConfig,
  awsRegionOf,
  openAwsCalls,
  type AwsCalls,
  type AwsClientOptions,
} from '../../../../platform/aws/calls.ts';
import { isAws } from '../../../../platform/aws/failures.ts';
import { RDS_ERROR, translateRds } from './failures.ts';
import { MASTER_USER, RDS_PORT, type Instance, type InstanceSpec } from './instance.ts';
import type { Changes, Instances, Order } from './instances.ts';

/** Storage may grow to this many times what it begins with, before a person must look. */
const GROWTH = 4;
/** Signs for as long as the bundle of authorities in the image lasts; the older one ended in 2024. */
const CA = 'rds-ca-rsa2048-g1';
const STORAGE_TYPE = 'gp3';

/** Sends one call to RDS in a region of the fleet. */
type Send = <T>(region: string, action: string, work: (client: RDSClient) => Promise<T>) => Promise<T>;

/** RDS itself. */
export function awsInstances(awsRegions: Record<string, string>, options: AwsClientOptions = {}): Instances {
  const opened = new Map<string, { client: RDSClient; calls: AwsCalls }>();
  const send: Send = async (region, action, work) => {
    const awsRegion = awsRegionOf(awsRegions, region);
    const found = opened.get(region) ?? {
      client: new RDSClient(awsClientConfig(awsRegion, options)),
      calls: openAwsCalls(awsRegion),
    };
    opened.set(region, found);
    try {
      return await found.calls.call('RDS', action, () => work(found.client));
    } catch (error) {
      throw translateRds(error, { awsRegion, action });
    }
  };
  return {
    ...looking(send),
    ...making(send),
    ...changing(send),
    ...snapshots(send),
    close: () => {
      for (const { client, calls } of opened.values()) {
        client.destroy();
        calls.close();
      }
      opened.clear();
    },
  };
}

function looking(send: Send): Pick<Instances, 'find' | 'list' | 'quotas'> {
  return {
    find: ({ region, identifier }) =>
      send(region, 'rds:DescribeDBInstances', async (client) => {
        const command = new DescribeDBInstancesCommand({ DBInstanceIdentifier: identifier });
        const found = await unless(RDS_ERROR.noInstance, undefined, () => client.send(command));
        return found?.DBInstances?.map(toInstance)[0];
      }),
    list: (region) =>
      send(region, 'rds:DescribeDBInstances', async (client) => {
        const found: DBInstance[] = [];
        let marker: string | undefined;
        do {
          const page = await client.send(new DescribeDBInstancesCommand({ Marker: marker }));
          found.push(...(page.DBInstances ?? []));
          marker = page.Marker;
        } while (marker !== undefined && marker !== '');
        return found.filter(({ Engine }) => Engine === 'postgres').map(toInstance);
      }),
    quotas: (region) =>
      send(region, 'rds:DescribeAccountAttributes', async (client) => {
        const { AccountQuotas = [] } = await client.send(new DescribeAccountAttributesCommand({}));
        return AccountQuotas.map(({ AccountQuotaName: name = '', Used: used = 0, Max: max = 0 }) => ({
          ...{ name, used, max },
        }));
      }),
  };
}

function making(send: Send): Pick<Instances, 'create' | 'remove'> {
  return {
    create: (order) =>
      send(order.region, 'rds:CreateDBInstance', async (client) => {
        const command = new CreateDBInstanceCommand({
          ...placing(order),
          DBInstanceIdentifier: order.identifier,
          Engine: 'postgres',
          EngineVersion: order.spec.engineVersion,
          AllocatedStorage: order.spec.storageGib,
          StorageEncrypted: true,
          KmsKeyId: order.spec.kmsKey,
          MasterUsername: MASTER_USER,
          MasterUserPassword: order.password,
          BackupRetentionPeriod: order.spec.backupDays,
          EnablePerformanceInsights: true,
          PerformanceInsightsKMSKeyId: order.spec.kmsKey,
        });
        await unless(RDS_ERROR.instanceExists, undefined, () => client.send(command));
      }),
    remove: ({ region, identifier }, finalSnapshot) =>
      send(region, 'rds:DeleteDBInstance', async (client) => {
        const command = new DeleteDBInstanceCommand({
          DBInstanceIdentifier: identifier,
          ...(finalSnapshot === null
            ? { SkipFinalSnapshot: true }
            : { SkipFinalSnapshot: false, FinalDBSnapshotIdentifier: finalSnapshot }),
          // They would hold a deleted tenant's data without anybody knowing; the final snapshot is known.
          DeleteAutomatedBackups: true,
        });
        await unless(RDS_ERROR.noInstance, undefined, () => client.send(command));
      }),
  };
}

/** Where it stands, and what it has in common with all others. */
function placing({ spec, tags }: Order) {
  return {
    DBInstanceClass: spec.instanceClass,
    MultiAZ: spec.multiAz,
    PubliclyAccessible: false,
    Port: RDS_PORT,
    StorageType: STORAGE_TYPE,
    MaxAllocatedStorage: spec.storageGib * GROWTH,
    DBSubnetGroupName: spec.subnetGroup,
    DBParameterGroupName: spec.parameterGroup,
    VpcSecurityGroupIds: spec.securityGroups,
    CACertificateIdentifier: CA,
    DeletionProtection: spec.deletionProtection,
    CopyTagsToSnapshot: true,
    AutoMinorVersionUpgrade: true,
    EnableCloudwatchLogsExports: ['postgresql', 'upgrade'],
    Tags: Object.entries(tags).map(([Key, Value]) => ({ Key, Value })),
  };
}

function changing(send: Send): Pick<Instances, 'change' | 'tag' | 'stop' | 'start'> {
  return {
    change: ({ region, identifier }, changes) =>
      send(region, 'rds:ModifyDBInstance', async (client) => {
        await client.send(
          new ModifyDBInstanceCommand({ DBInstanceIdentifier: identifier, ...toModify(changes) }),
        );
      }),
    tag: (region, ResourceName, tags) =>
      send(region, 'rds:AddTagsToResource', async (client) => {
        const Tags = Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));
        await client.send(new AddTagsToResourceCommand({ ResourceName, Tags }));
      }),
    stop: ({ region, identifier }) =>
      send(region, 'rds:StopDBInstance', async (client) => {
        await client.send(new StopDBInstanceCommand({ DBInstanceIdentifier: identifier }));
      }),
    start: ({ region, identifier }) =>
      send(region, 'rds:StartDBInstance', async (client) => {
        await client.send(new StartDBInstanceCommand({ DBInstanceIdentifier: identifier }));
      }),
  };
}

/** At once, not in the next maintenance window: whoever asks waits for it. */
function toModify(changes: Changes) {
  return {
    ApplyImmediately: true,
    EngineVersion: changes.engineVersion,
    DBInstanceClass: changes.instanceClass,
    AllocatedStorage: changes.storageGib,
    MultiAZ: changes.multiAz,
    BackupRetentionPeriod: changes.backupDays,
    DeletionProtection: changes.deletionProtection,
  };
}

function snapshots(send: Send): Pick<Instances, 'findSnapshot' | 'createSnapshot' | 'removeSnapshot'> {
  return {
    findSnapshot: ({ region, identifier }) =>
      send(region, 'rds:DescribeDBSnapshots', async (client) => {
        const command = new DescribeDBSnapshotsCommand({ DBSnapshotIdentifier: identifier });
        const answer = await unless(RDS_ERROR.noSnapshot, undefined, () => client.send(command));
        const found = answer?.DBSnapshots?.[0];
        if (found === undefined) return undefined;
        return {
          identifier,
          status: found.Status ?? '',
          percent: found.PercentProgress ?? 0,
          sourceInstance: found.DBInstanceIdentifier ?? '',
        };
      }),
    createSnapshot: ({ region, identifier }, snapshot, tags) =>
      send(region, 'rds:CreateDBSnapshot', async (client) => {
        const command = new CreateDBSnapshotCommand({
          DBInstanceIdentifier: identifier,
          DBSnapshotIdentifier: snapshot,
          Tags: Object.entries(tags).map(([Key, Value]) => ({ Key, Value })),
        });
        await unless(RDS_ERROR.snapshotExists, undefined, () => client.send(command));
      }),
    removeSnapshot: ({ region, identifier }) =>
      send(region, 'rds:DeleteDBSnapshot', async (client) => {
        const command = new DeleteDBSnapshotCommand({ DBSnapshotIdentifier: identifier });
        await unless(RDS_ERROR.noSnapshot, undefined, () => client.send(command));
      }),
  };
}

/** Takes the one answer that means nothing bad here. */
async function unless<T>(errorName: string, instead: T, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (isAws(error, errorName)) return instead;
    throw error;
  }
}

function toInstance(found: DBInstance): Instance {
  return {
    identifier: found.DBInstanceIdentifier ?? '',
    arn: found.DBInstanceArn ?? '',
    status: found.DBInstanceStatus ?? '',
    host: found.Endpoint?.Address,
    port: found.Endpoint?.Port ?? RDS_PORT,
    maxStorageGib: found.MaxAllocatedStorage ?? found.AllocatedStorage ?? 0,
    masterUser: found.MasterUsername ?? '',
    tags: Object.fromEntries((found.TagList ?? []).map(({ Key = '', Value = '' }) => [Key, Value])),
    spec: toSpec(found),
  };
}

function toSpec(found: DBInstance): InstanceSpec {
  return {
    engineVersion: found.EngineVersion ?? '',
    instanceClass: found.DBInstanceClass ?? '',
    storageGib: found.AllocatedStorage ?? 0,
    multiAz: found.MultiAZ ?? false,
    backupDays: found.BackupRetentionPeriod ?? 0,
    deletionProtection: found.DeletionProtection ?? false,
    subnetGroup: found.DBSubnetGroup?.DBSubnetGroupName ?? '',
    parameterGroup: found.DBParameterGroups?.[0]?.DBParameterGroupName ?? '',
    securityGroups: (found.VpcSecurityGroups ?? []).map(({ VpcSecurityGroupId = '' }) => VpcSecurityGroupId),
    kmsKey: found.KmsKeyId ?? '',
  };
}
