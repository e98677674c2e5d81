import type { Node } from 'libpg-query';
import { functionName, hasNode, nodesOf } from './tree.ts';

interface Type {
  base: string;
  mods: number[];
  array: string;
}

function parsed(text: string): Type {
  const [, base = text, mods, array = ''] = /^([^([]+)(?:\(([^)]*)\))?((?:\[\])*)$/.exec(text) ?? [];
  return { base, mods: mods === undefined ? [] : mods.split(',').map(Number), array };
}

/** Conversions for which PostgreSQL takes the bytes as they are, whatever the lengths. */
const SAME_BYTES = new Set([
  'varchar>text',
  'text>varchar',
  'cidr>inet',
  'bit>varbit',
  // With the session's TimeZone at UTC, which every migration has.
  'timestamp>timestamptz',
  'timestamptz>timestamp',
]);

/** Types with one length or precision, that may grow or be lifted. */
const GROWING = new Set(['varchar', 'varbit', 'timestamp', 'timestamptz', 'time', 'timetz', 'interval']);

/** Whether `ALTER COLUMN … TYPE` from one type to the other leaves the rows as they are. */
export function keepsRows(from: string, to: string): boolean {
  const [old, wanted] = [parsed(from), parsed(to)];
  if (old.array !== wanted.array) return false;
  if (old.base !== wanted.base) {
    return SAME_BYTES.has(`${old.base}>${wanted.base}`) && grows(old.mods, wanted.mods);
  }
  if (from === to) return true;
  if (wanted.base === 'numeric') return numericGrows(old.mods, wanted.mods);
  return GROWING.has(wanted.base) && grows(old.mods, wanted.mods);
}

function grows([old]: number[], [wanted]: number[]): boolean {
  return wanted === undefined || (old !== undefined && wanted >= old);
}

function numericGrows([digits = 0, scale = 0]: number[], wanted: number[]): boolean {
  const [wantedDigits, wantedScale = 0] = wanted;
  if (wantedDigits === undefined) return true;
  return digits > 0 && wantedDigits >= digits && wantedScale === scale;
}

/** Whether the indexes on the column are built anew though the rows stay: the types compare differently. */
export function missesIndexes(from: string, to: string): boolean {
  const [old, wanted] = [parsed(from).base, parsed(to).base];
  return old !== wanted && [old, wanted].includes('timestamp');
}

/**
 * Functions of PostgreSQL that give one value for a whole statement, as far as they stand in defaults. A
 * function that is not here may be volatile, as functions are unless they say otherwise.
 */
export const NOT_VOLATILE: ReadonlySet<string> = new Set(
  `now transaction_timestamp statement_timestamp date_trunc date_part to_timestamp to_date to_char timezone
   make_date make_interval make_timestamptz age lower upper initcap btrim ltrim rtrim replace concat concat_ws
   substr left right lpad rpad repeat md5 sha256 encode decode abs ceil floor round trunc mod power sqrt
   jsonb_build_object jsonb_build_array json_build_object json_build_array to_jsonb to_json array_fill
   string_to_array row_to_json int4range int8range numrange daterange tsrange tstzrange point inet_client_addr
   current_setting current_schema current_database version to_tsvector to_number chr ascii length`
    .trim()
    .split(/\s+/),
);

/** Whether the expression may give another value for each row. */
export function isVolatile(expression: Node | undefined): boolean {
  if (expression === undefined) return false;
  if (hasNode(expression, 'SubLink')) return true;
  return [...nodesOf({ expression }, 'FuncCall')].some((call) => !NOT_VOLATILE.has(functionName(call)));
}
