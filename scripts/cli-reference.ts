import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import type { Argument, Command, Option } from 'commander';
import { EXIT } from '../fleet-cli/exit.ts';
import { createProgram } from '../fleet-cli/program.ts';
import { projectRoot } from '../platform/project.ts';

/** Where the reference stands; a test compares it with what `renderReference` makes. */
export const REFERENCE_FILE = join(projectRoot(), 'docs', 'reference', 'cli.md');

const MEANING: Record<keyof typeof EXIT, string> = {
  ok: 'done',
  failed: 'failed',
  usage: 'wrong flags or input, or a confirmation is missing',
  conflict: 'not found, or in conflict with the present state',
  denied: 'not authenticated, or not allowed',
  unhealthy: 'the operation or rollout ended unhealthy',
  changes: 'changes found, with `--detailed-exitcode`',
  interrupted: 'interrupted by Ctrl-C',
};

/** The reference of all commands, made from the command tree itself. */
export function renderReference(): string {
  const program = createProgram({
    stdout: process.stdout,
    stderr: process.stderr,
    stdin: Readable.from([]),
    env: {},
    cwd: '/',
    signal: new AbortController().signal,
    graceMs: 0,
  });
  const sections = [
    '# The `fleet` command line',
    '<!-- Written by scripts/cli-reference.ts from the command tree; do not edit. -->',
    '`fleet <noun> <verb> [NAME] [flags]`. Data goes to stdout, messages and errors to stderr. ' +
      'Lists are `[]` in JSON when nothing is found.',
    `## Global flags\n\n${optionTable(visibleOptions(program))}`,
    `## Exit codes\n\n${exitTable()}`,
    `## Where commands go\n\n${CONNECTION}`,
    ...visibleCommands(program).map(commandSection),
  ];
  return `${sections.join('\n\n')}\n`;
}

const CONNECTION = `The control plane is found in this order:

1. \`--context NAME\`
2. \`FLEET_URL\`
3. \`FLEET_CONTEXT\`
4. the current context of the project: \`.flotilla/context.json\` in this folder or one above it, written by \`npm start\`
5. the current context of your own file, \`~/.config/flotilla/contexts.json\` (\`fleet context add\`)

\`FLEET_TOKEN\` or \`FLEET_TOKEN_FILE\` goes before the token file of a context. A context's token is never sent to \`FLEET_URL\`.`;

function commandSection(command: Command): string {
  const verbs = visibleCommands(command);
  const heading = `## \`fleet ${command.name()}\`\n\n${sentence(command.description())}`;
  if (verbs.length === 0) return `${heading}\n\n${commandBody(command)}`;
  const parts = verbs.map((verb) => {
    const title = `### \`fleet ${command.name()} ${verb.name()}\``;
    return `${title}\n\n${sentence(verb.description())}\n\n${commandBody(verb)}`;
  });
  return [heading, ...parts].join('\n\n');
}

function commandBody(command: Command): string {
  const names = [command.name()];
  for (let parent = command.parent; parent !== null; parent = parent.parent) names.unshift(parent.name());
  const options = visibleOptions(command);
  const words = [...names, ...command.registeredArguments.map(argumentText)];
  const usage = `\`\`\`\n${words.join(' ')}${options.length === 0 ? '' : ' [flags]'}\n\`\`\``;
  return options.length === 0 ? usage : `${usage}\n\n${optionTable(options)}`;
}

function visibleCommands(command: Command): Command[] {
  return command
    .createHelp()
    .visibleCommands(command)
    .filter((each) => each.name() !== 'help');
}

function visibleOptions(command: Command): Option[] {
  return command
    .createHelp()
    .visibleOptions(command)
    .filter((option) => option.long !== '--help');
}

function argumentText(argument: Argument): string {
  const name = argument.name().toUpperCase();
  return argument.required ? name : `[${name}]`;
}

function optionTable(options: Option[]): string {
  const rows = options.map((option) => `| \`${option.flags}\` | ${optionText(option)} |`);
  return ['| flag | meaning |', '|---|---|', ...rows].join('\n');
}

function optionText(option: Option): string {
  const choices = option.argChoices?.map((choice) => `\`${choice}\``).join(', ');
  const preset: unknown = option.defaultValue;
  const shown =
    typeof preset === 'string' || typeof preset === 'number' ? `default \`${preset}\`` : undefined;
  const more = [option.mandatory ? 'required' : undefined, choices, shown].filter(
    (part) => part !== undefined,
  );
  return option.description.replaceAll('|', '\\|') + (more.length === 0 ? '' : ` (${more.join('; ')})`);
}

function exitTable(): string {
  const rows = Object.entries(EXIT).map(
    ([name, code]) => `| ${code} | ${MEANING[name as keyof typeof EXIT]} |`,
  );
  return ['| code | meaning |', '|---|---|', ...rows].join('\n');
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${text.endsWith('.') ? '' : '.'}`;
}

if (process.argv[1] !== undefined && /cli-reference\.[jt]s$/.test(process.argv[1])) {
  mkdirSync(dirname(REFERENCE_FILE), { recursive: true });
  writeFileSync(REFERENCE_FILE, renderReference());
}
