import CircuitBreaker from 'opossum';
import { FleetError, isRetryable } from '../../platform/errors.ts';
import { translateAws, unavailable, type AwsCall } from './failures.ts';

/** What all calls of AWS have in common: how long they may take, how they are retried, and when nobody asks any more. */

/** What tests set; otherwise the SDK's own chain of environment, files and roles decides. */
export interface AwsClientOptions {
  endpoint?: string;
  credentials?: { accessKeyId: string; secretAccessKey: string };
}

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
 * Settings of a client. Adaptive retries hold back all calls of a client once one was throttled, so that a whole
 * fleet's work slows down to the quota instead of failing.
 */
export function clientSettings(awsRegion: string, options: AwsClientOptions) {
  return {
    ...options,
    region: awsRegion,
    maxAttempts: MAX_ATTEMPTS,
    retryMode: 'adaptive',
    requestHandler: { connectionTimeout: CONNECT_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS },
  };
}

/** Where in AWS a region of the fleet is. @throws FleetError `aws_region_unknown` */
export function awsRegionOf(awsRegions: Record<string, string>, region: string): string {
  const awsRegion = Object.hasOwn(awsRegions, region) ? awsRegions[region] : undefined;
  if (awsRegion === undefined) throw unknownRegion(region);
  return awsRegion;
}

export type Breaker = CircuitBreaker<[() => Promise<unknown>], unknown>;

/** Opens when half of the calls fail for reasons that pass: whoever asks then is told at once. */
export function createBreaker(): Breaker {
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

/** Runs one call. @throws FleetError as translateAws makes it; errors that speak of one thing pass as they are */
export async function runThrough<T>(breaker: Breaker, call: AwsCall, work: () => Promise<T>): Promise<T> {
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
    message: `nothing says in which region of AWS what belongs to ${region} is`,
    fix: `add it to FLEET_AWS_REGIONS, as in ${region}=eu-central-1, and restart the control plane`,
  });
}
