import { CliError } from './errors.ts';
import { EXIT } from './exit.ts';

const MEANING: Record<string, string> = {
  ECONNREFUSED: 'nothing listens at that address',
  ECONNRESET: 'the connection was cut',
  ENOTFOUND: 'the host name is not known',
  EAI_AGAIN: 'the host name cannot be resolved at the moment',
  ETIMEDOUT: 'the host does not answer',
  EHOSTUNREACH: 'there is no way to the host',
  UND_ERR_SOCKET: 'the connection was cut',
  UND_ERR_CONNECT_TIMEOUT: 'the host does not answer',
  CERT_HAS_EXPIRED: "the server's certificate has expired",
  DEPTH_ZERO_SELF_SIGNED_CERT: "the server's certificate is not signed by a known authority",
  SELF_SIGNED_CERT_IN_CHAIN: "the server's certificate is not signed by a known authority",
  TimeoutError: 'no answer in time',
};

/** Cuts in the middle of an exchange; the same request may well succeed a moment later. */
const RETRYABLE = new Set(['ECONNRESET', 'UND_ERR_SOCKET', 'EAI_AGAIN']);

/** How a control plane looks that was killed a moment ago and is being started again. */
const AWAY = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET']);

/** The control plane could not be reached at all, or went away in the middle. */
export function unreachable(url: string, error: unknown): CliError {
  const code = failureCode(error);
  return new CliError({
    code: 'unreachable',
    exitCode: EXIT.failed,
    message: `the control plane at ${url} cannot be reached`,
    why: code === undefined ? rootMessage(error) : `${MEANING[code] ?? 'the connection failed'} (${code})`,
    fix: `start it with \`npm start\`, or check that ${url} is its address (\`fleet context show\`); \`fleet doctor\` tells more`,
    retryable: code !== undefined && RETRYABLE.has(code),
    away: code !== undefined && AWAY.has(code),
    cause: error,
  });
}

/** Ctrl-C. `goesOn` says what is not undone by it. */
export function interrupted(goesOn: string, fix?: string): CliError {
  return new CliError({
    code: 'interrupted',
    exitCode: EXIT.interrupted,
    message: `interrupted: ${goesOn}`,
    fix,
  });
}

/** fetch wraps the socket's error, and the sockets of several addresses in one AggregateError. */
function failureCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  if ('code' in error && typeof error.code === 'string') return error.code;
  if ('cause' in error && error.cause !== undefined) return failureCode(error.cause);
  if ('name' in error && error.name === 'TimeoutError') return 'TimeoutError';
  return undefined;
}

/** For failures without a code (a port that fetch refuses): shown, never compared. */
function rootMessage(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  return error.cause === undefined ? error.message : rootMessage(error.cause);
}
