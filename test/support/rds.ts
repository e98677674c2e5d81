import { CreateDBParameterGroupCommand, CreateDBSubnetGroupCommand, RDSClient } from '@aws-sdk/client-rds';
import { awsInstances } from '../../control-plane/servers/providers/rds/aws.ts';
import type { Instances } from '../../control-plane/servers/providers/rds/instances.ts';
import { rdsWith, type Rds } from '../../control-plane/servers/providers/rds/rds.ts';
import { RdsSite } from '../../platform/config.ts';
import { MOTO_CREDENTIALS, type Moto } from './moto.ts';

export const AWS_REGION = 'eu-central-1';

/** The site of `eu` on moto, as Terraform would have made it. */
export const SITE = RdsSite.parse({
  subnetGroup: 'fleet-eu',
  parameterGroup: 'fleet-eu-postgres18',
  securityGroups: ['sg-1'],
  kmsKey: 'arn:aws:kms:eu-central-1:123456789012:key/eu',
  instanceClass: 'db.t4g.medium',
  storageGib: 20,
});

export function motoClient(moto: Moto): RDSClient {
  return new RDSClient({ endpoint: moto.url, credentials: MOTO_CREDENTIALS, region: AWS_REGION });
}

/** Makes what Terraform makes of a site before any server. */
export async function prepareSite(moto: Moto): Promise<void> {
  const client = motoClient(moto);
  await client.send(
    new CreateDBParameterGroupCommand({
      DBParameterGroupName: SITE.parameterGroup,
      DBParameterGroupFamily: 'postgres18',
      Description: 'what the fleet needs',
    }),
  );
  await client.send(
    new CreateDBSubnetGroupCommand({
      DBSubnetGroupName: SITE.subnetGroup,
      DBSubnetGroupDescription: 'where servers stand',
      SubnetIds: await subnetIds(moto),
    }),
  );
  client.destroy();
}

/** Those that every account begins with. There is no client of EC2 here, and this is all that is asked of it. */
async function subnetIds(moto: Moto): Promise<string[]> {
  const credential = `moto/20260101/${AWS_REGION}/ec2/aws4_request`;
  const answer = await fetch(moto.url, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/x-www-form-urlencoded',
      Authorization: `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=host, Signature=0`,
    },
    body: 'Action=DescribeSubnets&Version=2016-11-15',
  });
  return [...(await answer.text()).matchAll(/<subnetId>(.*?)<\/subnetId>/g)].map(([, id = '']) => id);
}

/** RDS as moto has it, and what each instance stands on. */
export function motoRds(
  moto: Moto,
  standIns: Record<string, string>,
  wrap: (instances: Instances) => Instances = (instances) => instances,
): Rds {
  const options = { endpoint: moto.url, credentials: MOTO_CREDENTIALS };
  const instances = awsInstances({ eu: AWS_REGION }, options);
  const config = { fleetName: 'fleet', rdsSites: { eu: SITE }, rdsEndpoints: standIns };
  return rdsWith(config, wrap(instances));
}

/** moto does everything at once. Here a change shows at the second look only, as on AWS it does after minutes. */
export function slow(instances: Instances): Instances {
  const busy = new Map<string, string>();
  const lag =
    <A extends { identifier: string }>(status: string, work: (place: A) => Promise<void>) =>
    async (place: A): Promise<void> => {
      await work(place);
      busy.set(place.identifier, status);
    };
  return {
    ...instances,
    create: lag('creating', (order) => instances.create(order)),
    stop: lag('stopping', (place) => instances.stop(place)),
    start: lag('starting', (place) => instances.start(place)),
    find: async (place) => {
      const found = await instances.find(place);
      const status = busy.get(place.identifier);
      busy.delete(place.identifier);
      return found === undefined || status === undefined ? found : { ...found, status };
    },
  };
}
