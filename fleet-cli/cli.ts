import { CommanderError, type Command } from 'commander';
import { commandOf, helpOf } from './command-path.ts';
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
      io.stderr.write(commandOf(program, argv).helpInformation());
      return EXIT.usage;
    }
    return report(asCliError(error, io), program, argv, io);
  }
}

function report(error: CliError, program: Command, argv: string[], io: Io): number {
  const out = createOutput(globalsBeforeParsing(argv), io);
  // Who answered a question with no made no mistake.
  const mistaken = error.exitCode === EXIT.usage && error.code !== 'cancelled';
  out.error(error, mistaken ? helpOf(commandOf(program, argv)) : undefined);
  if (argv.includes('--debug')) out.debug(error.stack ?? error.message);
  if (argv.includes('--debug') && error.cause instanceof Error)
    out.debug(error.cause.stack ?? error.cause.message);
  return error.exitCode;
}

function asCliError(error: unknown, io: Io): CliError {
  if (error instanceof CommanderError) {
    return usageError(error.message.replace(/^error: /, '').replaceAll('\n', ' '));
  }
  // Whatever Ctrl-C broke off, in whichever library: the interruption is what happened.
  if (io.signal.aborted && !(error instanceof CliError)) return interrupted('the command was broken off');
  return toCliError(error);
}

/** `fleet` or `fleet tenant` alone: the help is what was wanted, but nothing was done. */
function isBareNoun(error: unknown): boolean {
  return error instanceof CommanderError && error.code === 'commander.help';
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
