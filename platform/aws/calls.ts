import CircuitBreaker from 'opossum';
import { FleetError, isRetryable } from '../errors.ts';
import { translateAws, unavailable, type AwsCall } from './failures.ts';

/** Calls of one region of AWS, each service behind a circuit breaker of its own. */
export interface AwsCalls {
  awsRegion: string;
  /**
   * Runs one call. @throws FleetError `aws_access_denied`, `aws_not_authenticated`, `aws_throttled`,
   * `aws_unavailable`; errors that speak of one secret, key or server pass as they are
   */
  call<T>(service: AwsCall['service'], action: string, work: () => Promise<T>): Promise<T>;
  close(): void;
}

/** What tests set; otherwise the SDK's own chain of environment, files and roles decides. */
export interface AwsClientOptions {
  endpoint?: string;
  credentials?: { accessKeyId: string; secretAccessKey: string };
}

/** How long a call may take in all its tries. */
export interface AwsPatience {
  maxAttempts: number;
  /** Milliseconds until a connection counts as refused, and a request as unanswered. */
  connectMs: number;
  requestMs: number;
}

/**
 * A region's own endpoint connects in milliseconds: whoever does not within 2 s is not there. Services answer in
 * tens of milliseconds; 5 s leave room for a slow hour. One call and four more, with the SDK's own growing
 * pauses, are a few seconds.
 */
const PATIENT: AwsPatience = { maxAttempts: 5, connectMs: 2_000, requestMs: 5_000 };

/** Failures are counted over 30 s: a region that fails does so for minutes. */
const WINDOW_MS = 30_000;
/** Fewer calls than 5 in the window are too few to judge by. */
const LEAST_CALLS = 5;
const FAILED_PERCENT = 50;
/** After 5 s one call may try again. */
const OPEN_MS = 5_000;

/**
 * Settings for a client of the SDK. Adaptive retries hold back all calls of a client once one was throttled, so
 * that the rotation of a whole fleet slows down to the quota instead of failing.
 */
export function awsClientConfig(awsRegion: string, options: AwsClientOptions, patience = PATIENT) {
  return {
    ...options,
    region: awsRegion,
    maxAttempts: patience.maxAttempts,
    retryMode: 'adaptive',
    requestHandler: {
      connectionTimeout: patience.connectMs,
      requestTimeout: patience.requestMs,
      // Without it the SDK writes a warning and goes on waiting.
      throwOnRequestTimeout: true,
    },
  };
}

export function openAwsCalls(awsRegion: string): AwsCalls {
  const breakers = new Map<AwsCall['service'], Breaker>();
  return {
    awsRegion,
    call: (service, action, work) => {
      const breaker = breakers.get(service) ?? createBreaker();
      breakers.set(service, breaker);
      return runThrough(breaker, { service, awsRegion, action }, work);
    },
    close: () => {
      for (const breaker of breakers.values()) breaker.shutdown();
    },
  };
}

/** Where in AWS a region of the fleet is. @throws FleetError `aws_region_unknown` */
export function awsRegionOf(awsRegions: Record<string, string>, region: string): string {
  const awsRegion = Object.hasOwn(awsRegions, region) ? awsRegions[region] : undefined;
  if (awsRegion !== undefined) return awsRegion;
  throw new FleetError({
    code: 'aws_region_unknown',
    status: 500,
    message: `nothing says in which region of AWS what belongs to ${region} is`,
    fix: `add it to FLEET_AWS_REGIONS, as in ${region}=eu-central-1, and restart the control plane`,
  });
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
