import { KMSClient } from '@aws-sdk/client-kms';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import {
  awsClientConfig,
  awsRegionOf,
  openAwsCalls,
  type AwsCalls,
  type AwsClientOptions,
} from '../../../platform/aws/calls.ts';

/** What may be used of AWS for one region of the fleet: nothing in another region of AWS can be reached by it. */
export interface AwsRegion extends AwsCalls {
  /** The fleet's name for it. */
  region: string;
  secrets: SecretsManagerClient;
  kms: KMSClient;
}

export interface AwsRegions {
  /** In names and tags. */
  fleet: string;
  /** @throws FleetError `aws_region_unknown` */
  of(region: string): AwsRegion;
  close(): void;
}

/** Clients for each region of AWS that the fleet uses. */
export function openAwsRegions(
  fleet: string,
  awsRegions: Record<string, string>,
  options: AwsClientOptions = {},
): AwsRegions {
  const opened = new Map<string, AwsRegion>();
  return {
    fleet,
    of: (region) => {
      const found = opened.get(region) ?? openRegion(region, awsRegionOf(awsRegions, region), options);
      opened.set(region, found);
      return found;
    },
    close: () => {
      for (const region of opened.values()) region.close();
      opened.clear();
    },
  };
}

function openRegion(region: string, awsRegion: string, options: AwsClientOptions): AwsRegion {
  const config = awsClientConfig(awsRegion, options);
  const secrets = new SecretsManagerClient(config);
  const kms = new KMSClient(config);
  const calls = openAwsCalls(awsRegion);
  return {
    ...calls,
    region,
    secrets,
    kms,
    close: () => {
      secrets.destroy();
      kms.destroy();
      calls.close();
    },
  };
}
