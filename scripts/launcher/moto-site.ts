import { CreateDBParameterGroupCommand, CreateDBSubnetGroupCommand, RDSClient } from '@aws-sdk/client-rds';
import { RdsSite } from '../../platform/config.ts';
import { MOTO_CREDENTIALS, type Moto } from './moto.ts';

/** A region's site for servers on the emulated RDS, as Terraform would have made it. */
export const MOTO_SITE = RdsSite.parse({
  subnetGroup: 'fleet-eu',
  parameterGroup: 'fleet-eu-postgres18',
  securityGroups: ['sg-1'],
  kmsKey: 'arn:aws:kms:eu-central-1:123456789012:key/eu',
  instanceClass: 'db.t4g.medium',
  storageGib: 20,
});
export const MOTO_SITE_REGION = 'eu-central-1';

export function motoRdsClient(moto: Moto): RDSClient {
  return new RDSClient({ endpoint: moto.url, credentials: MOTO_CREDENTIALS, region: MOTO_SITE_REGION });
}

/** Makes what Terraform makes of a site before any server. */
export async function prepareSite(moto: Moto): Promise<void> {
  const client = motoRdsClient(moto);
  await client.send(
    new CreateDBParameterGroupCommand({
      DBParameterGroupName: MOTO_SITE.parameterGroup,
      DBParameterGroupFamily: 'postgres18',
      Description: 'what the fleet needs',
    }),
  );
  await client.send(
    new CreateDBSubnetGroupCommand({
      DBSubnetGroupName: MOTO_SITE.subnetGroup,
      DBSubnetGroupDescription: 'where servers stand',
      SubnetIds: await subnetIds(moto),
    }),
  );
  client.destroy();
}

/** Those that every account begins with. There is no client of EC2 here, and this is all that is asked of it. */
async function subnetIds(moto: Moto): Promise<string[]> {
  const credential = `moto/20260101/${MOTO_SITE_REGION}/ec2/aws4_request`;
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
