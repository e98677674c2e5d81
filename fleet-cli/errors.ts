import { FleetError, type FieldError } from '../platform/errors.ts';
import { EXIT, exitCodeOfStatus } from './exit.ts';

export interface CliErrorFields {
  /** Stable machine-readable name in snake_case. */
  code: string;
  exitCode: number;
  /** One sentence: what is wrong. */
  message: string;
  /** What lies behind it, when that is known and adds something. */
  why?: string | undefined;
  fix?: string | undefined;
  requestId?: string | undefined;
  errors?: FieldError[] | undefined;
  /** Whether the same request may succeed when it is sent again. */
  retryable?: boolean;
  /** Whether nothing listened, or the connection was cut: what a control plane that restarts looks like. */
  away?: boolean;
  cause?: unknown;
}

/** Every failure that a person sees: it knows its exit code and how to go on. */
export class CliError extends Error {
  readonly code: string;
  readonly exitCode: number;
  readonly why: string | undefined;
  readonly fix: string | undefined;
  readonly requestId: string | undefined;
  readonly errors: FieldError[] | undefined;
  readonly retryable: boolean;
  readonly away: boolean;

  constructor(fields: CliErrorFields) {
    super(fields.message, { cause: fields.cause });
    this.name = 'CliError';
    this.code = fields.code;
    this.exitCode = fields.exitCode;
    this.why = fields.why;
    this.fix = fields.fix;
    this.requestId = fields.requestId;
    this.errors = fields.errors;
    this.retryable = fields.retryable ?? false;
    this.away = fields.away ?? false;
  }
}

/** A mistake in the command line or in what was given to it. */
export function usageError(message: string, fix?: string, errors?: FieldError[]): CliError {
  return new CliError({ code: 'usage', exitCode: EXIT.usage, message, fix, errors });
}

/** Turns anything thrown into what is printed. What is not an expected error is a bug and says so. */
export function toCliError(error: unknown): CliError {
  if (error instanceof CliError) return error;
  if (error instanceof FleetError) {
    const { code, message, fix, errors } = error;
    return new CliError({
      code,
      message,
      fix,
      errors,
      exitCode: exitCodeOfStatus(error.status),
      cause: error,
    });
  }
  return new CliError({
    code: 'internal',
    exitCode: EXIT.failed,
    message: error instanceof Error ? error.message : String(error),
    fix: 'run the command again with --debug and report what it prints',
    cause: error,
  });
}
