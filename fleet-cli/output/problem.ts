import { stringify } from 'yaml';
import type { CliError } from '../errors.ts';
import type { Format } from '../globals.ts';
import { cleaned, cleanText, escapeInJson } from './clean.ts';
import type { Paint } from './style.ts';

/** An error as it is printed on stderr: an object in the structured formats, lines for people otherwise. */
export function renderError(error: CliError, format: Format, paint: Paint, help?: string): string {
  const given = errorFields(error);
  const fields = { ...given, ...(help === undefined ? {} : { help }) };
  if (format === 'json') return `${escapeInJson(JSON.stringify(fields))}\n`;
  if (format === 'yaml') return stringify(fields);
  return renderForPeople(cleaned(given, shortText), paint, help);
}

/** More of a value that somebody mistook for another (a whole file for a name) buries what is wrong with it. */
const MAX_TEXT = 2_000;

function shortText(text: string): string {
  return cleanText(text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text);
}

function renderForPeople(error: ErrorFields, paint: Paint, help: string | undefined): string {
  const said = error.message;
  // A single finding is often the whole message already.
  const details = (error.errors ?? [])
    .map(({ path, message }) => `${path === '' ? '' : `${path}: `}${message}`)
    .filter((finding) => !said.includes(finding))
    .map((finding) => `  - ${finding}`);
  const lines = [
    `${paint('bad', 'error')} ${paint('bold', error.code)}: ${said}`,
    ...details,
    ...(error.cause === undefined ? [] : [`  ${paint('dim', 'cause:')} ${error.cause}`]),
    ...(error.fix === undefined ? [] : [`  ${paint('dim', 'fix:')} ${error.fix}`]),
    ...(help === undefined ? [] : [`  ${paint('dim', 'help:')} ${help}`]),
    ...(error.requestId === undefined ? [] : [`  ${paint('dim', 'request:')} ${error.requestId}`]),
  ];
  return `${lines.join('\n')}\n`;
}

type ErrorFields = Pick<CliError, 'code' | 'message'> & {
  cause?: string;
  fix?: string;
  requestId?: string;
  errors?: CliError['errors'];
};

function errorFields(error: CliError): ErrorFields {
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
