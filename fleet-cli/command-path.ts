import type { Command } from 'commander';

/**
 * The command that a command line means, as far as its words name one: for its help, also where the line cannot be
 * parsed. Values of flags are passed over, so that `--context tenant` names no command.
 */
export function commandOf(program: Command, argv: string[]): Command {
  let command = program;
  for (let at = 0; at < argv.length; at += 1) {
    const word = argv[at] ?? '';
    if (word.startsWith('-')) {
      if (takesNextWord(command, word)) at += 1;
      continue;
    }
    const next = command.commands.find((each) => each.name() === word || each.aliases().includes(word));
    if (next === undefined) break;
    command = next;
  }
  return command;
}

/** `fleet tenant create --help` */
export function helpOf(command: Command): string {
  const names = [command.name()];
  for (let parent = command.parent; parent !== null; parent = parent.parent) names.unshift(parent.name());
  return `${names.join(' ')} --help`;
}

function takesNextWord(command: Command, flag: string): boolean {
  for (let each: Command | null = command; each !== null; each = each.parent) {
    const option = each.options.find(({ short, long }) => short === flag || long === flag);
    if (option !== undefined) return option.required;
  }
  return false;
}
