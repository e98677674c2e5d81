import type { NodeOf } from '../sql/parse.ts';
import { constraintName, fillStep, notNullSteps } from './remedy.ts';
import type { Action, Hit, ServerRange } from './rule.ts';
import { isSerial } from './schema.ts';
import { columnOf, constraintsOf, sqlName, typeText } from './tree.ts';
import { isVolatile } from './types.ts';

/** First server whose generated columns can be computed when they are read. */
const VIRTUAL_COLUMNS = 18;

/** A column that ADD COLUMN puts on an existing table. */
export interface AddedColumn {
  table: string;
  /** The table and the column as SQL. */
  on: string;
  name: string;
  column: NodeOf<'ColumnDef'>;
  constraints: NodeOf<'Constraint'>[];
  /** The action as written. */
  text: string;
}

export function addedColumn({ table, isNew, command, text }: Action): AddedColumn | undefined {
  const column = columnOf(command);
  if (isNew || command.subtype !== 'AT_AddColumn' || column === undefined) return undefined;
  const [on, name] = [sqlName(table), sqlName(column.colname ?? '')];
  return { table, on, name, column, constraints: constraintsOf(column), text };
}

/** Finds what gives each existing row a value of its own in the new column. */
export function computedColumn(action: Action, domains: Set<string>, servers: ServerRange): Hit[] {
  const added = addedColumn(action);
  if (added === undefined) return [];
  const place = { on: [added.table], at: added.column.location };
  const hit =
    stored(added, servers) ?? numbered(added, servers) ?? computed(added, servers) ?? checked(added, domains);
  return hit === undefined ? [] : [{ ...place, ...hit }];
}

function stored({ on, name, constraints, text }: AddedColumn, servers: ServerRange): Hit | undefined {
  if (!constraints.some(({ generated_kind }) => generated_kind === 's')) return undefined;
  const message = `computes and stores the new column ${name} of ${on} in every row`;
  if (servers.min < VIRTUAL_COLUMNS) {
    return {
      message,
      remedy: 'add a plain column, keep it up to date by a trigger, and fill the old rows in batches',
    };
  }
  return {
    message,
    remedy: 'let the column be computed when it is read',
    migrations: [`ALTER TABLE ${on} ${text.replace(/\bstored\b(?!.*\bstored\b)/is, 'VIRTUAL')};`],
  };
}

function numbered(
  { table, on, name, column, constraints }: AddedColumn,
  servers: ServerRange,
): Hit | undefined {
  if (!isSerial(column) && !constraints.some(({ contype }) => contype === 'CONSTR_IDENTITY'))
    return undefined;
  const sequence = sqlName(constraintName(table, column.colname ?? '', 'seq'));
  return {
    message: `gives every row of ${on} a number in the new column ${name}`,
    migrations: [
      `ALTER TABLE ${on} ADD COLUMN ${name} bigint;\n` +
        `CREATE SEQUENCE ${sequence} OWNED BY ${on}.${name};\n` +
        `ALTER TABLE ${on} ALTER COLUMN ${name} SET DEFAULT nextval('${sequence}');`,
      fillStep(table, column.colname ?? '', 'DEFAULT'),
      ...notNullSteps(table, column.colname ?? '', servers),
    ],
  };
}

function computed(added: AddedColumn, servers: ServerRange): Hit | undefined {
  const { table, on, name, column, constraints } = added;
  const preset = constraints.find(({ contype }) => contype === 'CONSTR_DEFAULT');
  if (preset === undefined || !isVolatile(preset.raw_expr)) return undefined;
  const required = constraints.some(({ contype }) => contype === 'CONSTR_NOTNULL');
  return {
    message: `the default of the new column ${name} of ${on} has to be computed for every row`,
    migrations: [
      `ALTER TABLE ${on} ADD COLUMN ${columnSource(added)};\n` +
        `ALTER TABLE ${on} ALTER COLUMN ${name} SET ${constraintSource(added, preset)};`,
      fillStep(table, column.colname ?? '', 'DEFAULT'),
      ...(required ? notNullSteps(table, column.colname ?? '', servers) : []),
    ],
  };
}

function checked({ on, name, column }: AddedColumn, domains: Set<string>): Hit | undefined {
  if (!domains.has(typeText(column.typeName))) return undefined;
  return {
    message: `the type of the new column ${name} of ${on} is a domain with a constraint, which is checked in every row`,
    remedy: 'use the base type of the domain, and a CHECK constraint that is validated later',
  };
}

/** The column's name and type as written, without the constraints behind them. */
function columnSource(added: AddedColumn): string {
  return slice(added, added.column.location, added.constraints[0]?.location);
}

/** One constraint of the column as written. */
export function constraintSource(added: AddedColumn, constraint: NodeOf<'Constraint'>): string {
  const next = added.constraints[added.constraints.indexOf(constraint) + 1];
  return slice(added, constraint.location, next?.location);
}

/** The column as written, without some of its constraints. */
export function columnWithout(added: AddedColumn, left: NodeOf<'Constraint'>[]): string {
  const kept = added.constraints.filter((constraint) => !left.includes(constraint));
  return [columnSource(added), ...kept.map((constraint) => constraintSource(added, constraint))].join(' ');
}

const ACTION_HEAD = /^add\s+(?:column\s+)?(?:if\s+not\s+exists\s+)?/i;

/** Locations count in the whole SQL; the column's own is where its name stands, behind `ADD COLUMN`. */
function slice({ column, text }: AddedColumn, from: number | undefined, to: number | undefined): string {
  const head = ACTION_HEAD.exec(text)?.[0].length ?? 0;
  const offset = head - (column.location ?? 0);
  const bytes = Buffer.from(text, 'utf8');
  return bytes
    .subarray((from ?? 0) + offset, to === undefined ? undefined : to + offset)
    .toString('utf8')
    .trim();
}
