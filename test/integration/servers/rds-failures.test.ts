import assert from 'node:assert/strict';
import {
  CreateDBInstanceCommand,
  DeleteDBInstanceCommand,
  DescribeAccountAttributesCommand,
  DescribeDBInstancesCommand,
  ModifyDBInstanceCommand,
  RDSClient,
  RDSServiceException,
} from '@aws-sdk/client-rds';
import { mockClient } from 'aws-sdk-client-mock';
import { WaitingError } from '../../../control-plane/operations/waiting.ts';
import { awsInstances } from '../../../control-plane/servers/providers/rds/aws.ts';
import { specOf, tagsOf } from '../../../control-plane/servers/providers/rds/instance.ts';
import type { Instances } from '../../../control-plane/servers/providers/rds/instances.ts';
import { ensureInstance, removeInstance } from '../../../control-plane/servers/providers/rds/lifecycle.ts';
import { FleetError } from '../../../platform/errors.ts';
import { AWS_REGION, SITE } from '../../support/rds.ts';

const SERVER = '0190d5a0-0000-7000-8000-000000000001';
const OTHER = '0190d5a0-0000-7000-8000-000000000002';
const ORDER = {
  ...{ region: 'eu', identifier: 'fleet-eu-1', password: 'never shown' },
  spec: specOf(SITE, {}),
  tags: tagsOf('fleet', { region: 'eu', serverId: SERVER }),
};

describe('failures of RDS, answered by a mock of the client: moto has neither rights, quotas, outages nor statuses of instances', () => {
  const rds = mockClient(RDSClient);
  let instances: Instances;

  beforeEach(() => {
    rds.reset();
    instances = awsInstances({ eu: AWS_REGION }, { credentials: { accessKeyId: 'x', secretAccessKey: 'x' } });
    rds.on(DescribeAccountAttributesCommand).resolves({ AccountQuotas: [] });
    rds.on(DescribeDBInstancesCommand).rejects(failure('DBInstanceNotFoundFault', 404));
  });
  afterEach(() => instances.close());
  after(() => rds.restore());

  function failure(name: string, httpStatusCode: number): RDSServiceException {
    const $metadata = { httpStatusCode };
    return new RDSServiceException({ name, $fault: 'client', $metadata, message: `${name} it is` });
  }
  function instanceIs(DBInstanceStatus: string, serverId = SERVER, DeletionProtection = false): void {
    const TagList = [{ Key: 'fleet:server', Value: serverId }];
    const Endpoint = { Address: 'fleet-eu-1.rds', Port: 5432 };
    const DBInstances = [
      { DBInstanceIdentifier: 'fleet-eu-1', DBInstanceStatus, TagList, Endpoint, DeletionProtection },
    ];
    rds.on(DescribeDBInstancesCommand).resolves({ DBInstances });
  }
  const order = () => ensureInstance(instances, SERVER, ORDER);
  const remove = (snapshot: string | null) => removeInstance(instances, SERVER, ORDER, snapshot);
  const code = (expected: string, text?: RegExp) => (error: unknown) => {
    assert.ok(error instanceof FleetError, String(error));
    assert.equal(error.code, expected);
    assert.ok(error.fix !== undefined);
    if (text !== undefined) assert.match(`${error.message} ${error.fix}`, text);
    assert.doesNotMatch(JSON.stringify({ ...error, message: error.message }), /never shown/);
    return true;
  };
  const waits = (text: RegExp) => (error: unknown) => {
    assert.ok(error instanceof WaitingError, String(error));
    assert.match(error.wait.what, text);
    return true;
  };
  const creations = () => rds.commandCalls(CreateDBInstanceCommand).length;

  it('orders nothing without room in the account, and says how much there is', async () => {
    const quota = (AccountQuotaName: string, Used: number, Max: number) =>
      rds.on(DescribeAccountAttributesCommand).resolves({ AccountQuotas: [{ AccountQuotaName, Used, Max }] });
    quota('DBInstances', 40, 40);
    await assert.rejects(order(), code('rds_quota', /40 of 40 instances are taken.*Service Quotas/));
    quota('AllocatedStorage', 99_990, 100_000);
    await assert.rejects(order(), code('rds_quota', /99990 of 100000 GiB of storage are taken, and 20 more/));
    assert.equal(creations(), 0);
  });

  it('refuses an instance of the name that is not its own, and never deletes it', async () => {
    instanceIs('available', OTHER);
    await assert.rejects(order(), code('instance_name_taken', /--instance fleet-eu-1/));
    await remove(null);
    assert.equal(creations() + rds.commandCalls(DeleteDBInstanceCommand).length, 0);
  });

  it('looks again when somebody else ordered it at the same moment', async () => {
    rds.on(CreateDBInstanceCommand).rejects(failure('DBInstanceAlreadyExistsFault', 400));
    await assert.rejects(order(), waits(/is being made/));
  });

  for (const [name, status, expected] of [
    ['AccessDenied', 403, 'aws_access_denied'],
    ['ExpiredToken', 403, 'aws_not_authenticated'],
    ['KMSKeyNotAccessibleFault', 400, 'rds_key_unusable'],
    ['InstanceQuotaExceededFault', 400, 'rds_quota'],
    ['InsufficientDBInstanceCapacityFault', 400, 'rds_no_capacity'],
    ['InvalidParameterCombination', 400, 'rds_refused'],
  ] as const) {
    it(`tells ${name} by its own code and cure`, async () => {
      rds.on(CreateDBInstanceCommand).rejects(failure(name, status));
      await assert.rejects(order(), code(expected));
    });
  }

  it('waits while RDS is throttled, down, or busy with the instance', async () => {
    rds.on(CreateDBInstanceCommand).rejects(failure('Throttling', 400));
    await assert.rejects(order(), waits(/asked too often/));
    rds.on(CreateDBInstanceCommand).rejects(failure('InternalFailure', 500));
    await assert.rejects(order(), waits(/does not answer/));
    instanceIs('modifying', SERVER, true);
    rds.on(ModifyDBInstanceCommand).rejects(failure('InvalidDBInstanceStateFault', 400));
    await assert.rejects(remove('last'), waits(/does not do rds:ModifyDBInstance now/));
  });

  for (const status of ['creating', 'a-status-of-tomorrow', 'rebooting', 'deleting']) {
    it(`waits while it is ${status}`, async () => {
      instanceIs(status);
      await assert.rejects(order(), waits(new RegExp(`is ${status} in RDS`)));
    });
  }

  for (const [status, cure] of [
    ['storage-full', /more storage/],
    ['incompatible-parameters', /parameter group/],
    ['incompatible-network', /events/],
    ['inaccessible-encryption-credentials-recoverable', /KMS key/],
    ['failed', /cannot be mended/],
  ] as const) {
    it(`does not wait for one that is ${status}, but for a person`, async () => {
      instanceIs(status);
      await assert.rejects(order(), code('instance_broken', cure));
      await assert.rejects(remove('last'), code('instance_broken'));
    });
  }
});
