import type { Rule } from './rule.ts';
import { BREAKING_RULES } from './rules/breaking.ts';
import { CONSTRAINT_RULES } from './rules/constraints.ts';
import { DATA_RULES } from './rules/data.ts';
import { INDEX_RULES } from './rules/indexes.ts';
import { REACH_RULES } from './rules/reach.ts';
import { REWRITE_RULES } from './rules/rewrites.ts';
import { STYLE_RULES } from './rules/style.ts';
import { TRANSACTION_RULES } from './rules/transactions.ts';
import { VERSION_RULES } from './rules/versions.ts';

/** What is found not in a statement but in the text around it; the linter itself reports these. */
export const TEXT_RULES = {
  syntax: textRule({
    id: 'syntax-error',
    severity: 'error',
    finds: 'SQL that PostgreSQL’s parser refuses; commands of psql (`\\d`, `\\copy`) too',
    danger: 'publishing refuses it',
    remedy: 'correct it; a command of psql has no meaning to a server',
    allowable: false,
  }),
  dynamic: textRule({
    id: 'dynamic-sql',
    severity: 'warning',
    finds: '`EXECUTE` of SQL that is put together when it runs, and `DO` in another language than PL/pgSQL',
    danger: 'nobody knows before it runs what it locks: no rule looks at it',
    remedy: 'write the statements out, or rehearse the migration and look at its locks',
    allowable: true,
  }),
  unusedAllow: textRule({
    id: 'unused-allow',
    severity: 'warning',
    finds: 'an `allow=RULE` that allows nothing',
    danger: 'it would let the next finding of that rule pass unseen',
    remedy: 'take the directive out',
    allowable: false,
  }),
} as const;

function textRule(fields: Omit<Rule, 'lock' | 'hold' | 'check'>): Rule {
  return { ...fields, lock: 'none', hold: 'moment', check: () => [] };
}

/** The rules as the reference lists them. */
export const RULE_GROUPS: { title: string; rules: Rule[] }[] = [
  { title: 'What writes a table anew', rules: REWRITE_RULES },
  { title: 'What is checked against the rows', rules: CONSTRAINT_RULES },
  { title: 'Indexes and partitions', rules: INDEX_RULES },
  { title: 'What breaks running code', rules: BREAKING_RULES },
  { title: 'What changes rows', rules: DATA_RULES },
  { title: 'The transaction and the session', rules: TRANSACTION_RULES },
  { title: 'What reaches beyond the schema', rules: REACH_RULES },
  { title: 'Old servers, and what cannot be read', rules: [...VERSION_RULES, ...Object.values(TEXT_RULES)] },
  { title: 'What is dear to change later', rules: STYLE_RULES },
];

export const RULES: Rule[] = RULE_GROUPS.flatMap(({ rules }) => rules);

/** What is wrong with `allow=RULE`: there is no such rule, or it cannot be allowed. */
export function allowanceComplaint(id: string): string | undefined {
  const rule = RULES.find((each) => each.id === id);
  if (rule === undefined) return `allows ${id}, which is no lint rule`;
  return rule.allowable ? undefined : `allows ${id}, which nothing can allow`;
}
