import { KMSClient } from '@aws-sdk/client-kms';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import {
  awsRegionOf,
  clientSettings,
  createBreaker,
  runThrough,
  type AwsClientOptions,
} from '../../aws/calls.ts';
import type { AwsCall } from '../../aws/failures.ts';

type AwsService = 'Secrets Manager' | 'KMS';

/** What may be used of AWS for one region of the fleet: nothing in another region of AWS can be reached by it. */
export interface AwsRegion {
  /** The fleet's name for it. */
  region: string;
  awsRegion: string;
  secrets: SecretsManagerClient;
  kms: KMSClient;
  /**
   * Runs one call. @throws FleetError `aws_access_denied`, `aws_not_authenticated`, `aws_throttled`,
   * `aws_unavailable`; errors that speak of one secret or key pass as they are
   */
  call<T>(service: AwsService, action: string, work: () => Promise<T>): Promise<T>;
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
  const opened = new Map<string, OpenRegion>();
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

interface OpenRegion extends AwsRegion {
  close(): void;
}

function openRegion(region: string, awsRegion: string, options: AwsClientOptions): OpenRegion {
  const config = clientSettings(awsRegion, options);
  const secrets = new SecretsManagerClient(config);
  const kms = new KMSClient(config);
  const breakers = { 'Secrets Manager': createBreaker(), KMS: createBreaker() };
  return {
    region,
    awsRegion,
    secrets,
    kms,
    call: <T>(service: AwsService, action: string, work: () => Promise<T>) => {
      const call: AwsCall = { service, awsRegion, action };
      return runThrough(breakers[service], call, work);
    },
    close: () => {
      secrets.destroy();
      kms.destroy();
      for (const breaker of Object.values(breakers)) breaker.shutdown();
    },
  };
}
