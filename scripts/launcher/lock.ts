import { randomUUID } from 'node:crypto';
import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { z } from 'zod';
import { FleetError } from '../../platform/errors.ts';
import { commandLine } from './processes.ts';

const Holder = z.object({ pid: z.number().int(), program: z.string() });

/** A lock that is stale is removed once; more rounds mean that others start and die beside us. */
const TRIES = 3;

/**
 * Takes the data folder for this process. A lock whose process is gone, or whose id has gone to another
 * program since, was left by a kill and is taken over. Returns the function that gives it back.
 * @throws FleetError `already_running`
 */
export function takeStartLock(file: string): () => void {
  const own = `${file}.${process.pid}`;
  const program = basename(process.argv[1] ?? 'node');
  const content = JSON.stringify({ pid: process.pid, program, id: randomUUID() });
  // Linked into place, so that a lock always names its holder, whenever its writer is killed.
  writeFileSync(own, content, { mode: 0o600 });
  try {
    for (let tries = 0; tries < TRIES; tries++) {
      if (tryLink(own, file)) return () => giveBack(file, content);
      refuseIfHeld(file);
      removeStale(file);
    }
    throw alreadyRunning(file, undefined);
  } finally {
    rmSync(own, { force: true });
  }
}

/**
 * Under a lock of its own, and after another look: whoever removed a lock for what it read a moment ago could
 * remove the one that another process has put in its place since.
 */
function removeStale(file: string): void {
  const done = takeStartLock(`${file}.takeover`);
  try {
    refuseIfHeld(file);
    rmSync(file, { force: true });
  } finally {
    done();
  }
}

/** @throws FleetError `already_running` */
function refuseIfHeld(file: string): void {
  const holder = readHolder(file);
  if (holder !== undefined && isRunning(holder)) throw alreadyRunning(file, holder.pid);
}

/** Only what is ours: somebody may have removed the file by hand, and another fleet have started since. */
function giveBack(file: string, content: string): void {
  if (readText(file) === content) rmSync(file, { force: true });
}

function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

function tryLink(own: string, file: string): boolean {
  try {
    linkSync(own, file);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

function readHolder(file: string): z.infer<typeof Holder> | undefined {
  try {
    return Holder.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch {
    // Given back this moment, or not a lock of ours.
    return undefined;
  }
}

function isRunning(holder: z.infer<typeof Holder>): boolean {
  return commandLine(holder.pid)?.includes(holder.program) ?? false;
}

function alreadyRunning(file: string, pid: number | undefined): FleetError {
  return new FleetError({
    code: 'already_running',
    status: 409,
    message: `this fleet is already running${pid === undefined ? '' : ` (process ${pid})`}: ${file} is held`,
    fix: 'stop the other one with Ctrl-C, or set FLEET_DATA_DIR to another folder for a second fleet',
  });
}
