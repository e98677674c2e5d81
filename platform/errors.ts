/**
 * Every expected failure is a FleetError: a stable `code`, the HTTP status it answers with, what is wrong,
 * and the command or change that mends it. Anything else that is thrown is a bug and answers 500.
 */
export interface FleetErrorFields {
  /** Stable machine-readable name in snake_case, e.g. `slug_taken`. */
  code: string;
  /** HTTP status of the answer; the CLI derives its exit code from it. */
  status: number;
  /** One sentence for a person: what is wrong. */
  message: string;
  /** What to do about it, as a command where there is one. */
  fix?: string | undefined;
  /** Findings by field or file, for problem+json `errors[]`. */
  errors?: FieldError[] | undefined;
  /** Whether the same call may succeed later without a change. */
  retryable?: boolean | undefined;
  cause?: unknown;
}

export interface FieldError {
  /** JSON path, file:line or header that is wrong. */
  path: string;
  message: string;
  /** Stable name of the rule that is broken, where there are several. */
  code?: string | undefined;
}

export class FleetError extends Error {
  readonly code: string;
  readonly status: number;
  readonly fix: string | undefined;
  readonly errors: FieldError[] | undefined;
  readonly retryable: boolean;

  constructor(fields: FleetErrorFields) {
    super(fields.message, { cause: fields.cause });
    this.name = 'FleetError';
    this.code = fields.code;
    this.status = fields.status;
    this.fix = fields.fix;
    this.errors = fields.errors;
    this.retryable = fields.retryable ?? false;
  }
}

/** The plain facts of any thrown value, as they are stored with an operation or a target and shown to people. */
export interface ErrorSummary {
  code: string;
  message: string;
  fix?: string | undefined;
}

/** Reduces any thrown value to what may be stored and shown; never the stack, the query or its parameters. */
export function summarizeError(error: unknown): ErrorSummary {
  if (error instanceof FleetError) return { code: error.code, message: error.message, fix: error.fix };
  const state = sqlState(error);
  const message = error instanceof Error ? error.message : String(error);
  if (state !== undefined) return { code: `sqlstate_${state}`, message };
  return { code: systemCode(error) ?? 'internal', message };
}

/** The SQLSTATEs that are told apart somewhere, under PostgreSQL's own names for them. */
export const SQLSTATE = {
  divisionByZero: '22012',
  foreignKeyViolation: '23503',
  uniqueViolation: '23505',
  checkViolation: '23514',
  invalidAuthorization: '28000',
  invalidPassword: '28P01',
  dependentObjectsStillExist: '2BP01',
  /** There is no such database. */
  invalidCatalogName: '3D000',
  invalidSchemaName: '3F000',
  serializationFailure: '40001',
  deadlockDetected: '40P01',
  insufficientPrivilege: '42501',
  undefinedColumn: '42703',
  undefinedObject: '42704',
  duplicateObject: '42710',
  undefinedFunction: '42883',
  undefinedTable: '42P01',
  duplicateDatabase: '42P04',
  tooManyConnections: '53300',
  /** Also a template with a session that is just leaving. */
  objectInUse: '55006',
  lockNotAvailable: '55P03',
  /** A value that was added to its type in the same transaction. */
  unsafeNewEnumValueUsage: '55P04',
  /** By its `statement_timeout`, or by somebody who asked. */
  queryCanceled: '57014',
  adminShutdown: '57P01',
  crashShutdown: '57P02',
  cannotConnectNow: '57P03',
} as const;

/** The five-character SQLSTATE of an error of the `pg` driver, if it is one. */
export function sqlState(error: unknown): string | undefined {
  const code = systemCode(error);
  return code !== undefined && /^[0-9A-Z]{5}$/.test(code) && !code.startsWith('E') ? code : undefined;
}

function systemCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

const RETRYABLE_SQLSTATES = new Set<string>([
  SQLSTATE.serializationFailure,
  SQLSTATE.deadlockDetected,
  SQLSTATE.tooManyConnections,
  SQLSTATE.objectInUse,
  SQLSTATE.lockNotAvailable,
  SQLSTATE.adminShutdown,
  SQLSTATE.crashShutdown,
  SQLSTATE.cannotConnectNow,
]);

const RETRYABLE_SYSTEM_CODES = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH']);

/**
 * Whether doing the same again later may succeed. Classes 08 (connection), and the states above: never 42
 * (syntax, missing object), 23 (constraint) or 22 (data), which fail every time.
 */
export function isRetryable(error: unknown): boolean {
  if (error instanceof FleetError) return error.retryable;
  const state = sqlState(error);
  if (state !== undefined) return state.startsWith('08') || RETRYABLE_SQLSTATES.has(state);
  const code = systemCode(error);
  return (code !== undefined && RETRYABLE_SYSTEM_CODES.has(code)) || isConnectionLost(error);
}

/**
 * Whether the server could not be reached or the connection was cut, as against a statement that failed.
 * `pg` reports a cut connection as a plain Error without code, which is told apart by having no code at all
 * and being marked by our own connect/query wrappers (see platform/pg.ts).
 */
export function isUnreachable(error: unknown): boolean {
  const state = sqlState(error);
  if (state !== undefined) return state.startsWith('08') || state.startsWith('57P');
  const code = systemCode(error);
  return (code !== undefined && RETRYABLE_SYSTEM_CODES.has(code)) || isConnectionLost(error);
}

/** Marker class that platform/pg.ts throws in place of the driver's code-less "connection terminated". */
export class ConnectionLostError extends Error {
  constructor(cause: unknown) {
    super('the connection to PostgreSQL was lost', { cause });
    this.name = 'ConnectionLostError';
  }
}

function isConnectionLost(error: unknown): boolean {
  return error instanceof ConnectionLostError;
}
