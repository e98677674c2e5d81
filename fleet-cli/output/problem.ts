import { stringify } from 'yaml';
import type { CliError } from '../errors.ts';
import type { Format } from '../globals.ts';
import type { Paint } from './style.ts';

/** An error as it is printed on stderr: an object in the structured formats, lines for people otherwise. */
export function renderError(error: CliError, format: Format, paint: Paint, help?: string): string {
  const fields = { ...errorFields(error), ...(help === undefined ? {} : { help }) };
  if (format === 'json') return `${JSON.stringify(fields)}\n`;
  if (format === 'yaml') return stringify(fields);
  const said = error.message;
  // A single finding is often the whole message already.
  const details = (error.errors ?? [])
    .map(({ path, message }) => `${path === '' ? '' : `${path}: `}${message}`)
    .filter((finding) => !said.includes(finding))
    .map((finding) => `  - ${finding}`);
  const lines = [
    `${paint('bad', 'error')} ${paint('bold', error.code)}: ${said}`,
    ...details,
    ...(error.why === undefined ? [] : [`  ${paint('dim', 'cause:')} ${error.why}`]),
    ...(error.fix === undefined ? [] : [`  ${paint('dim', 'fix:')} ${error.fix}`]),
    ...(help === undefined ? [] : [`  ${paint('dim', 'help:')} ${help}`]),
    ...(error.requestId === undefined ? [] : [`  ${paint('dim', 'request:')} ${error.requestId}`]),
  ];
  return `${lines.join('\n')}\n`;
}

function errorFields(error: CliError): Record<string, unknown> {
  const { code, message, why, fix, requestId, errors } = error;
  return {
    code,
    message,
    ...(why === undefined ? {} : { cause: why }),
    ...(fix === undefined ? {} : { fix }),
    ...(requestId === undefined ? {} : { requestId }),
    ...(errors === undefined ? {} : { errors }),
  };
}
