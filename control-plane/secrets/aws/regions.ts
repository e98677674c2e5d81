import { KMSClient, type KMSClientConfig } from '@aws-sdk/client-kms';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import CircuitBreaker from 'opossum';
import { FleetError, isRetryable } from '../../../platform/errors.ts';
import { translateAws, unavailable, type AwsCall } from './failures.ts';

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
  call<T>(service: AwsCall['service'], action: string, work: () => Promise<T>): Promise<T>;
}

export interface AwsRegions {
  /** In names and tags. */
  fleet: string;
  /** @throws FleetError `aws_region_unknown` */
  of(region: string): AwsRegion;
  close(): void;
}

/** What tests set; otherwise the SDK's own chain of environment, files and roles decides. */
export type AwsClientOptions = Pick<KMSClientConfig, 'endpoint' | 'credentials'>;

/** A region's own endpoint connects in milliseconds; whoever does not within 2 s is not there. */
const CONNECT_TIMEOUT_MS = 2_000;
/** Both services answer in tens of milliseconds; 5 s leave room for a slow hour. */
const REQUEST_TIMEOUT_MS = 5_000;
/** One call and four more, with the SDK's own growing pauses, are a few seconds: what a request may wait. */
const MAX_ATTEMPTS = 5;

/** Failures are counted over 30 s: a region that fails does so for minutes. */
const WINDOW_MS = 30_000;
/** Fewer calls than 5 in the window are too few to judge by. */
const LEAST_CALLS = 5;
const FAILED_PERCENT = 50;
/** After 5 s one call may try again. */
const OPEN_MS = 5_000;

/**
 * Clients for each region of AWS that the fleet uses. Adaptive retries hold back all calls of a client once
 * one was throttled, so that the rotation of a whole fleet slows down to the quota instead of failing.
 */
export function openAwsRegions(
  fleet: string,
  awsRegions: Record<string, string>,
  options: AwsClientOptions = {},
): AwsRegions {
  const opened = new Map<string, OpenRegion>();
  return {
    fleet,
    of: (region) => {
      const awsRegion = Object.hasOwn(awsRegions, region) ? awsRegions[region] : undefined;
      if (awsRegion === undefined) throw unknownRegion(region);
      const found = opened.get(region) ?? openRegion(region, awsRegion, options);
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
  const config = {
    ...options,
    region: awsRegion,
    maxAttempts: MAX_ATTEMPTS,
    retryMode: 'adaptive',
    requestHandler: { connectionTimeout: CONNECT_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS },
  };
  const secrets = new SecretsManagerClient(config);
  const kms = new KMSClient(config);
  const breakers = { 'Secrets Manager': createBreaker(), KMS: createBreaker() };
  return {
    region,
    awsRegion,
    secrets,
    kms,
    call: <T>(service: AwsCall['service'], action: string, work: () => Promise<T>) => {
      const call = { service, awsRegion, action };
      return runThrough(breakers[service], call, work);
    },
    close: () => {
      secrets.destroy();
      kms.destroy();
      for (const breaker of Object.values(breakers)) breaker.shutdown();
    },
  };
}

type Breaker = CircuitBreaker<[() => Promise<unknown>], unknown>;

function createBreaker(): Breaker {
  return new CircuitBreaker<[() => Promise<unknown>], unknown>((work) => work(), {
    timeout: false,
    errorThresholdPercentage: FAILED_PERCENT,
    volumeThreshold: LEAST_CALLS,
    resetTimeout: OPEN_MS,
    rollingCountTimeout: WINDOW_MS,
    rollingPercentilesEnabled: false,
    enableSnapshots: false,
    // A refusal is an answer: it says nothing of whether the service works.
    errorFilter: (error) => !isRetryable(error),
  });
}

async function runThrough<T>(breaker: Breaker, call: AwsCall, work: () => Promise<T>): Promise<T> {
  const translated = () =>
    work().catch((error: unknown) => {
      throw translateAws(error, call);
    });
  try {
    return (await breaker.fire(translated)) as T;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EOPENBREAKER') {
      throw unavailable(`${call.service} in ${call.awsRegion}`, error);
    }
    throw error;
  }
}

function unknownRegion(region: string): FleetError {
  return new FleetError({
    code: 'aws_region_unknown',
    status: 500,
    message: `nothing says in which region of AWS the secrets and keys of ${region} are`,
    fix: `add it to FLEET_AWS_REGIONS, as in ${region}=eu-central-1, and restart the control plane`,
  });
}
