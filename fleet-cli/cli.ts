import { CommanderError, type Command } from 'commander';
import { CliError, toCliError, usageError } from './errors.ts';
import { EXIT } from './exit.ts';
import { FORMATS, type Format, type Globals } from './globals.ts';
import type { Io } from './io.ts';
import { createOutput } from './output/output.ts';
import { createProgram } from './program.ts';
import { interrupted } from './transport-errors.ts';

/**
 * Runs one command line (without `node` and the script) and answers its exit code. Everything goes through `io`;
 * nothing is thrown and the process is not ended.
 */
export async function runCli(argv: string[], io: Io): Promise<number> {
  const program = createProgram(io);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return EXIT.ok;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok;
    if (isBareNoun(error)) {
      io.stderr.write(nounOf(program, argv).helpInformation());
      return EXIT.usage;
    }
    return report(asCliError(error, io), argv, io);
  }
}

function report(error: CliError, argv: string[], io: Io): number {
  const out = createOutput(globalsBeforeParsing(argv), io);
  out.error(error);
  if (argv.includes('--debug')) out.debug(error.stack ?? error.message);
  if (argv.includes('--debug') && error.cause instanceof Error)
    out.debug(error.cause.stack ?? error.cause.message);
  return error.exitCode;
}

function asCliError(error: unknown, io: Io): CliError {
  if (error instanceof CommanderError) {
    return usageError(
      error.message.replace(/^error: /, '').replaceAll('\n', ' '),
      'see `fleet --help`, or --help behind the command',
    );
  }
  // Whatever Ctrl-C broke off, in whichever library: the interruption is what happened.
  if (io.signal.aborted && !(error instanceof CliError)) return interrupted('the command was broken off');
  return toCliError(error);
}

/** `fleet` or `fleet tenant` alone: the help is what was wanted, but nothing was done. */
function isBareNoun(error: unknown): boolean {
  return error instanceof CommanderError && error.code === 'commander.help';
}

function nounOf(program: Command, argv: string[]): Command {
  return program.commands.find((command) => argv.includes(command.name())) ?? program;
}

/** A command line that cannot be parsed still says how its error shall be printed. */
function globalsBeforeParsing(argv: string[]): Globals {
  return { output: formatOf(argv), color: !argv.includes('--no-color'), input: false };
}

function formatOf(argv: string[]): Format {
  const at = argv.findLastIndex((arg) => /^(-o|--output)/.test(arg));
  const given = argv[at] ?? '';
  const value =
    given === '-o' || given === '--output' ? argv[at + 1] : given.replace(/^(-o=?|--output=)/, '');
  return FORMATS.find((format) => format === value) ?? 'table';
}
