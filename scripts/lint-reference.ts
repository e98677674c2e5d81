import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from '../platform/project.ts';
import { blocksText } from '../platform/sql-lint/lint.ts';
import { SUPPORTED_SERVERS, type Rule } from '../platform/sql-lint/rule.ts';
import { RULE_GROUPS } from '../platform/sql-lint/rules.ts';

/** Where the reference stands; a test compares it with what `renderLintReference` makes. */
export const LINT_REFERENCE_FILE = join(projectRoot(), 'docs', 'lint.md');

const { min, max } = SUPPORTED_SERVERS;

const HEAD = `# Linting migrations

<!-- Written by scripts/lint-reference.ts from the rules; do not edit. -->

A migration that is right on a laptop can stop a database that is in use: an index that is built while nobody can write, a column whose new type copies the table, a rename that the running application does not know. \`fleet release lint DIR\` reads the migrations of a folder with PostgreSQL's own parser and says what each would do. It asks no server. Publishing applies the same rules again, for the versions of PostgreSQL that the fleet's servers run, and refuses errors with \`lint_failed\`.

\`\`\`
$ fleet release lint migrations/tenant
0007_index.sql:4: error: builds an index on tasks while nobody can write to it [require-concurrent-index-creation]
  lock     SHARE, blocks writes of tasks while it is built
  instead  build it concurrently, in a migration of its own that runs outside a transaction
           -- fleet: transaction=off
           CREATE INDEX CONCURRENTLY tasks_title ON tasks (title);
\`\`\`

- Exit code 0 without errors, 1 with errors; with \`--detailed-exitcode\` 6 when there is any finding that is not allowed. \`-o json\` prints everything, \`-o wide\` shows what is allowed too.
- \`--server-version 15..18\` or \`18\` says what to lint for; the default is all that are supported, ${min} to ${max}. What to write instead depends on the oldest.
- A table that the migration itself makes is empty, and nobody waits for it: most rules pass over it. What earlier migrations of the folder, or of the published list, have made is known: a longer \`varchar\` is no change of type, and \`SET NOT NULL\` is fine behind a validated \`CHECK\`.
- Statements inside \`DO\` blocks are linted too. What a function does when it is called, and down parts, are not.

## Breaking a rule on purpose

A directive in the head comment allows it for this migration, with a reason. The reason is shown by \`fleet release get\` and stands in the audit log.

\`\`\`sql
-- fleet: allow=require-concurrent-index-creation reason="no tenant has more than 100 rows here"
\`\`\`

A history that was written long before it came here is taken as it stands up to a baseline, with its findings recorded: \`fleet release publish DIR --baseline 0120_last --reason "ran in the old product for years"\`; \`fleet release lint DIR --baseline 0120_last\` passes over it.

## Rules

Errors refuse to publish; warnings are recorded.`;

/** The reference of all rules, made from the rules themselves. */
export function renderLintReference(): string {
  const groups = RULE_GROUPS.map(({ title, rules }) => [`### ${title}`, ...rules.map(ruleText)].join('\n\n'));
  return `${[HEAD, ...groups].join('\n\n')}\n`;
}

function ruleText({ id, severity, lock, hold, finds, danger, remedy, allowable }: Rule): string {
  const lines = [
    `#### ${id}`,
    `**${severity}**${allowable ? '' : ', cannot be allowed'}: ${finds}.`,
    [
      ...(lock === 'none' ? [] : [`- Lock: ${lock}, blocks ${blocksText(lock, hold, [])}`]),
      `- Danger: ${danger}`,
      `- Instead: ${remedy}`,
    ].join('\n'),
  ];
  return lines.join('\n\n');
}

if (process.argv[1] !== undefined && /lint-reference\.[jt]s$/.test(process.argv[1])) {
  writeFileSync(LINT_REFERENCE_FILE, renderLintReference());
}
