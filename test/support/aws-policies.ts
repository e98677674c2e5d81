import { statementsOf, type Statement } from './iam.ts';
import type { TerraformFile } from './terraform.ts';

/** moto's. */
export const ACCOUNT = '123456789012';

const REGIONS: Record<string, string> = { eu: 'eu-central-1', us: 'us-east-1' };

/** A fleet of two regions, as the example has it. */
export const GIVEN = {
  fleet_name: 'flotilla',
  regions: Object.fromEntries(
    Object.entries(REGIONS).map(([name, aws_region]) => [
      name,
      {
        aws_region,
        kms_key_arn: `arn:aws:kms:${aws_region}:${ACCOUNT}:key/${name}`,
        db_subnet_group_name: `fleet-${name}`,
        parameter_group_name: `fleet-${name}-postgres18`,
      },
    ]),
  ),
};

/** All that the role of a program may, as Terraform would make it for that fleet. */
export async function programRole(
  files: TerraformFile[],
  program: 'control-plane' | 'tenant-app',
  region = 'eu',
): Promise<Statement[]> {
  return statementsOf(files, `modules/${program}`, ['task', 'servers', 'behind'], {
    var: program === 'tenant-app' ? { fleet_name: GIVEN.fleet_name, region } : GIVEN,
    data: {
      aws_partition: { this: { partition: 'aws' } },
      aws_caller_identity: { this: { account_id: ACCOUNT } },
      aws_region: { this: { region: REGIONS[region] } },
    },
  });
}
