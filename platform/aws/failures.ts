import { FleetError } from '../errors.ts';

/** Names of errors of AWS that are told apart, as the services' models have them. */
export const AWS_ERROR = {
  alreadyExists: 'AlreadyExistsException',
  resourceExists: 'ResourceExistsException',
  resourceNotFound: 'ResourceNotFoundException',
  notFound: 'NotFoundException',
  /** Of Secrets Manager, for several reasons: one is a secret that is scheduled for deletion. */
  invalidRequest: 'InvalidRequestException',
  /** Of Secrets Manager: it cannot use the secret's KMS key. */
  decryptionFailure: 'DecryptionFailure',
  encryptionFailure: 'EncryptionFailure',
  disabled: 'DisabledException',
  /** Of KMS: mostly a key that is pending deletion. */
  keyState: 'KMSInvalidStateException',
  invalidCiphertext: 'InvalidCiphertextException',
  incorrectKey: 'IncorrectKeyException',
  accessDenied: 'AccessDeniedException',
  /** The same of RDS, whose protocol is older. */
  accessDeniedByQuery: 'AccessDenied',
} as const;

/** What the services answer when they are asked too often. */
const THROTTLED = new Set([
  'ThrottlingException',
  'Throttling',
  'TooManyRequestsException',
  'RequestLimitExceeded',
  'LimitExceededException',
]);
/** Credentials that are missing, wrong or expired: another error than a missing right, with another cure. */
const NOT_SIGNED = new Set([
  'CredentialsProviderError',
  'UnrecognizedClientException',
  'ExpiredTokenException',
  'ExpiredToken',
  'InvalidSignatureException',
  'InvalidClientTokenId',
]);
const SERVER_ERROR = 500;

/** Whether AWS answered with this error. */
export function isAws(error: unknown, ...names: string[]): boolean {
  return error instanceof Error && names.includes(error.name);
}

/** What was asked, of which service, where: for messages. Never holds a value. */
export interface AwsCall {
  service: 'Secrets Manager' | 'KMS' | 'RDS';
  awsRegion: string;
  action: string;
}

/**
 * A failed call as a FleetError with its cure. Answers that say something of the one secret or key come back
 * as they are: only the caller knows what they mean.
 */
export function translateAws(error: unknown, call: AwsCall): unknown {
  if (!(error instanceof Error) || error instanceof FleetError) return error;
  const where = `${call.service} in ${call.awsRegion}`;
  if (isAws(error, AWS_ERROR.accessDenied, AWS_ERROR.accessDeniedByQuery)) {
    return new FleetError({
      code: 'aws_access_denied',
      status: 502,
      message: `${where} refuses ${call.action} to this program's role`,
      fix: `allow ${call.action} in the role's policy, and in the policy of the KMS key where one is used`,
      cause: error,
    });
  }
  if (NOT_SIGNED.has(error.name)) {
    return new FleetError({
      code: 'aws_not_authenticated',
      status: 502,
      message: `${where} does not know who asks: no AWS credentials, or ones that are over`,
      fix: 'give this program a role, or the AWS_* variables that the SDK reads',
      cause: error,
    });
  }
  if (THROTTLED.has(error.name)) {
    return new FleetError({
      code: 'aws_throttled',
      status: 503,
      message: `${where} is asked too often (${call.action}), after all retries`,
      fix: 'wait, it is tried again; for a large fleet do fewer at once, or have the quota raised',
      retryable: true,
      cause: error,
    });
  }
  return isOutage(error) ? unavailable(where, error) : error;
}

export function unavailable(where: string, cause: unknown): FleetError {
  return new FleetError({
    code: 'aws_unavailable',
    status: 503,
    message: `${where} does not answer`,
    fix: 'wait, it is tried again; otherwise check the network and AWS_ENDPOINT_URL',
    retryable: true,
    cause,
  });
}

/** No answer at all, or one that says that AWS itself has failed. */
function isOutage(error: Error): boolean {
  const status = statusOf(error);
  return status === undefined ? isNetworkError(error) : status >= SERVER_ERROR;
}

function statusOf(error: Error): number | undefined {
  if (!('$metadata' in error) || typeof error.$metadata !== 'object' || error.$metadata === null) return;
  const { $metadata: metadata } = error;
  return 'httpStatusCode' in metadata && typeof metadata.httpStatusCode === 'number'
    ? metadata.httpStatusCode
    : undefined;
}

function isNetworkError(error: Error): boolean {
  const hasSystemCode = 'code' in error && typeof error.code === 'string';
  return hasSystemCode || error.name === 'TimeoutError' || error.name === 'AbortError';
}
