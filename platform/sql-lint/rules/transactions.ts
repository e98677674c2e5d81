import type { Node } from 'libpg-query';
import type { NodeOf } from '../../sql/parse.ts';
import { isConcurrentReindex, refusedStatement } from '../../sql/refused.ts';
import { OUTSIDE_TRANSACTION } from '../remedy.ts';
import { isNew, type Hit, type Lock, type Rule, type Subject } from '../rule.ts';
import { functionName, nodesOf, sqlName, tableKey } from '../tree.ts';

/** What concerns the transaction and the session that a migration runs in. */
export const TRANSACTION_RULES: Rule[] = [
  {
    id: 'transaction-nesting',
    severity: 'error',
    lock: 'none',
    hold: 'moment',
    finds: '`BEGIN`, `COMMIT`, `ROLLBACK` in a migration',
    danger:
      'the transaction that holds the migration together with its record ends in the middle: a failure after it leaves half of the migration applied and recorded',
    remedy: 'leave it out: every migration runs in a transaction of its own',
    allowable: false,
    check: ({ node }) => {
      const reason = 'TransactionStmt' in node ? refusedStatement(node) : undefined;
      return reason === undefined ? [] : [{ message: reason }];
    },
  },
  {
    id: 'forbidden-statement',
    severity: 'error',
    lock: 'none',
    hold: 'moment',
    finds:
      'a statement that reaches beyond the database, changes the role, or cannot be repeated after a crash: `CREATE DATABASE`, `CREATE ROLE`, `SET ROLE`, `COPY` from or to a client, a program or a file, `DISCARD`, …',
    danger: 'publishing refuses it',
    remedy: 'take it out of the migration',
    allowable: false,
    check: ({ node }) => {
      if ('TransactionStmt' in node) return [];
      const reason = refusedStatement(node);
      return reason === undefined ? [] : [{ message: reason }];
    },
  },
  {
    id: 'ban-concurrent-index-creation-in-transaction',
    severity: 'error',
    lock: 'none',
    hold: 'moment',
    finds: '`CONCURRENTLY` or `VACUUM` in a migration that runs in a transaction',
    danger: 'PostgreSQL refuses it there (SQLSTATE 25001)',
    remedy: 'put it into a migration of its own that runs outside a transaction',
    allowable: false,
    check: ({ node, text, migration }) => {
      if (migration.transactional === false || !runsOutsideOnly(node)) return [];
      return [
        {
          message: 'cannot run in a transaction, together with the other statements of its migration',
          migrations: [`${OUTSIDE_TRANSACTION}\n${text};`],
        },
      ];
    },
  },
  {
    id: 'mixed-non-transactional',
    severity: 'warning',
    lock: 'none',
    hold: 'moment',
    finds: 'a statement that could run in a transaction beside others in a `transaction=off` migration',
    danger:
      'each statement takes effect by itself: when one fails, those before it stay, and the database stands between two versions until somebody retries',
    remedy: 'keep only what cannot run in a transaction here; put the rest into a migration of its own',
    allowable: true,
    check: ({ node, text, migration, count }) => {
      if (migration.transactional !== false || count < 2 || runsOutsideOnly(node)) return [];
      return [
        { message: 'takes effect by itself, whatever becomes of the others', migrations: [`${text};`] },
      ];
    },
  },
  {
    id: 'own-timeout',
    severity: 'error',
    lock: 'none',
    hold: 'moment',
    finds: '`SET lock_timeout` and the like, `set_config` of one',
    danger:
      'it replaces the time-out that the fleet sets: a migration that waits for a lock stops every query behind it for that long',
    remedy: 'leave it out, or say `-- fleet: lock-timeout=…` or `statement-timeout=…` on top',
    allowable: true,
    check: ({ node }) =>
      settingsOf(node)
        .filter(({ name }) => TIMEOUTS.has(name))
        .map(({ name, at }) => ({
          at,
          message: `sets ${name}, which the fleet sets for every migration`,
          remedy: DIRECTIVE[name] ?? 'leave it out: the fleet bounds it already',
        })),
  },
  {
    id: 'session-setting',
    severity: 'warning',
    lock: 'none',
    hold: 'moment',
    finds: '`SET` without `LOCAL`',
    danger: 'the setting outlives the migration, and those after it in the same run see it',
    remedy: 'say SET LOCAL',
    allowable: true,
    check: ({ node, text, migration }) =>
      settingsOf(node)
        .filter(({ name, local }) => !local && !TIMEOUTS.has(name) && migration.transactional !== false)
        .map(({ name, at }) => ({
          at,
          message: `sets ${name} for the session, beyond this migration`,
          migrations: /^set\s/i.test(text)
            ? [`${text.replace(/^set\s+(?:session\s+)?/i, 'SET LOCAL ')};`]
            : [],
        })),
  },
  {
    id: 'enum-value-in-own-transaction',
    severity: 'error',
    lock: 'none',
    hold: 'moment',
    finds: 'a value that `ALTER TYPE … ADD VALUE` made, used in the same migration',
    danger: 'PostgreSQL refuses it (SQLSTATE 55P04): a new value is safe to use only after the commit',
    remedy: 'add the value in one migration and use it in the next',
    allowable: true,
    check: enumValueUsed,
  },
  {
    id: 'explicit-lock',
    severity: 'error',
    lock: 'ACCESS EXCLUSIVE',
    hold: 'commit',
    finds: '`LOCK TABLE` in a mode that stops writers',
    danger: 'others wait until the whole migration has committed',
    remedy: 'leave it out: every statement takes the lock that it needs',
    allowable: true,
    check: ({ node, schema, migration }) => {
      if (!('LockStmt' in node)) return [];
      const lock = LOCK_MODES[node.LockStmt.mode ?? 0];
      const tables = [...nodesOf(node.LockStmt.relations, 'RangeVar')].map(tableKey);
      const on = tables.filter((table) => !isNew({ schema, migration }, table));
      if (lock === undefined || on.length === 0) return [];
      return [{ on, lock, message: `locks ${on.map(sqlName).join(', ')} in ${lock} mode` }];
    },
  },
];

/** PostgreSQL's lock modes by number, those that stop writers; `LOCK TABLE t` alone is the eighth. */
const LOCK_MODES: Record<number, Lock> = {
  5: 'SHARE',
  6: 'SHARE ROW EXCLUSIVE',
  7: 'SHARE ROW EXCLUSIVE',
  8: 'ACCESS EXCLUSIVE',
};

/** Whether PostgreSQL refuses the statement inside a transaction. */
export function runsOutsideOnly(node: Node): boolean {
  if ('IndexStmt' in node) return node.IndexStmt.concurrent === true;
  if ('DropStmt' in node) return node.DropStmt.concurrent === true;
  if ('ReindexStmt' in node) return isConcurrentReindex(node.ReindexStmt);
  return 'VacuumStmt' in node && node.VacuumStmt.is_vacuumcmd === true;
}

const TIMEOUTS = new Set([
  'lock_timeout',
  'statement_timeout',
  'transaction_timeout',
  'idle_in_transaction_session_timeout',
  'client_connection_check_interval',
  'deadlock_timeout',
]);

const DIRECTIVE: Record<string, string> = {
  lock_timeout:
    'leave it out, or say `-- fleet: lock-timeout=…` on top: it is bounded, and known to the rollout',
  statement_timeout: 'leave it out, or say `-- fleet: statement-timeout=…` on top',
};

interface Setting {
  name: string;
  local: boolean;
  at: number | undefined;
}

/** Settings that the statement changes: SET, and calls of set_config with a constant name. */
function settingsOf(node: Node): Setting[] {
  if ('VariableSetStmt' in node) {
    const { name, kind, is_local } = node.VariableSetStmt;
    if (name === undefined || kind === 'VAR_RESET' || kind === 'VAR_SET_MULTI') return [];
    return [{ name: name.toLowerCase(), local: is_local === true, at: undefined }];
  }
  if (!('SelectStmt' in node)) return [];
  return [...nodesOf(node, 'FuncCall')].flatMap(configCall);
}

function configCall(call: NodeOf<'FuncCall'>): Setting[] {
  if (functionName(call) !== 'set_config') return [];
  const [name, , local] = call.args ?? [];
  if (name === undefined || !('A_Const' in name) || name.A_Const.sval === undefined) return [];
  const isLocal = local !== undefined && 'A_Const' in local && local.A_Const.boolval?.boolval === true;
  return [{ name: (name.A_Const.sval.sval ?? '').toLowerCase(), local: isLocal, at: call.location }];
}

function enumValueUsed({ node, before, migration }: Subject): Hit[] {
  if (migration.transactional === false || 'AlterEnumStmt' in node || before.enumValues.size === 0) return [];
  const [used] = [...nodesOf(node, 'A_Const')].filter(({ sval }) => before.enumValues.has(sval?.sval ?? ''));
  if (used === undefined) return [];
  const value = used.sval?.sval ?? '';
  const type = before.enumValues.get(value) ?? '';
  const literal = `'${value.replaceAll("'", "''")}'`;
  return [
    {
      at: used.location,
      message: `uses ${literal}, which this migration adds to the type ${sqlName(type)}`,
      remedy: `leave \`ALTER TYPE ${sqlName(type)} ADD VALUE ${literal}\` in this migration, and move this statement to the next`,
    },
  ];
}
