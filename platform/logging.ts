import { AsyncLocalStorage } from 'node:async_hooks';
import winston from 'winston';

/** Ids that every line written inside `withLogContext` carries. */
export interface LogContext {
  requestId?: string;
  operationId?: string;
  rolloutId?: string;
  tenant?: string;
}

export type Logger = winston.Logger;

const context = new AsyncLocalStorage<LogContext>();

/** Runs `work` so that each log line below it carries `fields`, added to those of the callers. */
export function withLogContext<T>(fields: LogContext, work: () => T): T {
  return context.run({ ...context.getStore(), ...fields }, work);
}

const SECRET_KEY =
  /pass(word|wd)?|secret|token|authorization|cookie|verifier|credential|master.?key|data.?key/i;
const SECRET_TEXT: [RegExp, string][] = [
  [/flt_[A-Za-z0-9]+_[A-Za-z0-9_-]+/g, 'flt_[redacted]'],
  [/(postgres(?:ql)?:\/\/[^:@/\s]+):[^@\s]+@/g, '$1:[redacted]@'],
  [/SCRAM-SHA-256\$[^\s'"]+/g, 'SCRAM-SHA-256$[redacted]'],
  [/(password\s*[=:]?\s*)'[^']*'/gi, "$1'[redacted]'"],
  [/(Bearer\s+)[A-Za-z0-9._~+/-]+=*/gi, '$1[redacted]'],
];

/** Masks secrets in a text by their shape: API keys, URLs with passwords, SCRAM verifiers, bearer tokens. */
export function redactText(text: string): string {
  return SECRET_TEXT.reduce((masked, [shape, mask]) => masked.replace(shape, mask), text);
}

/** Masks secrets in any value: by the key's name and by the text's shape. Depth is bounded: logs are flat. */
export function redact(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return redactText(value);
  if (typeof value !== 'object' || value === null) return value;
  if (depth > 6) return '[deep]';
  if (value instanceof Error) return redactError(value, depth);
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map((item) => redact(item, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key,
      SECRET_KEY.test(key) ? '[redacted]' : redact(item, depth + 1),
    ]),
  );
}

function redactError(error: Error, depth: number): Record<string, unknown> {
  return {
    name: error.name,
    message: redactText(error.message),
    ...('code' in error ? { code: error.code } : {}),
    ...(error.stack === undefined ? {} : { stack: redactText(error.stack) }),
    ...(error.cause === undefined ? {} : { cause: redact(error.cause, depth + 1) }),
  };
}

const redactFormat = winston.format((info) => {
  const masked = redact({ ...context.getStore(), ...info });
  // winston keeps level and message under symbols as well as by name; both must survive.
  return Object.assign(info, masked);
});

/** JSON lines on stderr (stdout belongs to data). `level` is one of winston's npm levels, or `silent`. */
export function createLogger(program: string, level: string): Logger {
  return winston.createLogger({
    level,
    silent: level === 'silent',
    defaultMeta: { program },
    format: winston.format.combine(winston.format.timestamp(), redactFormat(), winston.format.json()),
    transports: [new winston.transports.Console({ stderrLevels: Object.keys(winston.config.npm.levels) })],
  });
}
