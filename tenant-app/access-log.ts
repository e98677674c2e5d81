import { redactText } from '../platform/logging.ts';
import type { RequestRecord } from './routing/middleware.ts';

/** One JSON line per request. */
export interface AccessLog {
  write(record: RequestRecord): void;
  /** Writes what is still held. */
  flush(): void;
}

/** 50 ms: what a crash may lose, against one system call per request. */
const FLUSH_MS = 50;
/** 64 kB are about 300 lines: more at once gains nothing. */
const FLUSH_CHARS = 64 * 1024;

/**
 * Lines in the shape of the program's log, made by hand and written in batches: through the general logger
 * a line costs 30 µs, which is a tenth of a whole request here.
 */
export function createAccessLog(out: { write(text: string): unknown }, program: string): AccessLog {
  let held = '';
  let timer: NodeJS.Timeout | undefined;
  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    if (held === '') return;
    out.write(held);
    held = '';
  };
  return {
    write: (record) => {
      held += lineOf(record, program);
      if (held.length >= FLUSH_CHARS) flush();
      else timer ??= setTimeout(flush, FLUSH_MS).unref();
    },
    flush,
  };
}

/** Texts that may hold a secret are rare in paths; only they are worth the search for all its shapes. */
const SUSPICIOUS = /flt_|postgres|scram|password|bearer/i;

/** Put together by hand: all but the path are of forms that need no escaping (checked where they come in). */
function lineOf(record: RequestRecord, program: string): string {
  const path = SUSPICIOUS.test(record.path) ? redactText(record.path) : record.path;
  const tenant = record.tenant === undefined ? '' : `"tenant":"${record.tenant}",`;
  const aborted = record.aborted ? '"aborted":true,' : '';
  const durationMs = Math.round(record.durationMs * 100) / 100;
  return (
    `{"level":"info","message":"request","program":"${program}","requestId":"${record.requestId}",${tenant}` +
    `"method":"${record.method}","path":${JSON.stringify(path)},"status":${record.status},` +
    `"durationMs":${durationMs},${aborted}"timestamp":"${now()}"}\n`
  );
}

let lastMs = 0;
let lastText = '';

/** Now in ISO 8601. Busy programs write several lines within one millisecond. */
function now(): string {
  const ms = Date.now();
  if (ms !== lastMs) {
    lastMs = ms;
    lastText = new Date(ms).toISOString();
  }
  return lastText;
}
