import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { z } from 'zod';
import type { RotateMasterKey } from '../../contract/secret.ts';
import { FleetError } from '../../platform/errors.ts';
import { requireFleetWide, type Asker } from '../access/caller.ts';
import { auditAsked } from '../audit/audit.ts';
import type { OperationDefinition, StepContext } from '../operations/definition.ts';
import { startOperation } from '../operations/operation.ts';
import type { Registry, Transaction } from '../registry/registry.ts';
import { rewrap } from './keys/local.ts';
import {
  addKey,
  idOf,
  keepKeys,
  keysOf,
  openFile,
  requireKey,
  sealFile,
  type MasterKey,
  type MasterKeyFile,
} from './keys/master-key.ts';
import {
  changeMasterKey,
  countOthers,
  firstRegion,
  holdMasterKey,
  lockOthers,
  noteMasterKey,
  saveWrapped,
  type MasterKeyState,
} from './master-key-store.ts';
import type { Secrets } from './secret.ts';

/** A file that is sealed under the master key, and what it is bound to. */
export interface SealedFile {
  file: string;
  purpose: string;
}

export interface MasterKeyDeps {
  registry: Registry;
  masterKey: MasterKey;
  /** Those on this machine. */
  sealedFiles: () => SealedFile[];
}

export const RotateMasterKeyInput = z.object({
  /** Only the new key is made, so that master.key can be copied to other machines before it is used. */
  prepare: z.boolean(),
});
type Context = StepContext<z.infer<typeof RotateMasterKeyInput>>;

/**
 * Wraps all data keys under a new master key; nothing that is sealed under them is touched. The file holds both keys
 * until nothing needs the old one. Forward only: wherever it is cut, each data key opens with a key of the file.
 */
export const rotateMasterKey: OperationDefinition<z.infer<typeof RotateMasterKeyInput>, MasterKeyDeps> = {
  kind: 'master_key.rotate',
  input: RotateMasterKeyInput,
  cancellable: false,
  steps: [
    { name: 'make', do: make },
    { name: 'switch', do: unlessPreparing(switchOver) },
    { name: 'wrap', do: unlessPreparing(wrapAll) },
    { name: 'files', do: unlessPreparing(sealFiles) },
    { name: 'finish', do: unlessPreparing(finish) },
  ],
};

/** 200 keys are two statements of some milliseconds; whoever creates a tenant meanwhile waits no longer than that. */
const BATCH = 200;

/** @throws FleetError 409 `keys_in_kms`, `operation_in_progress` */
export async function startRotateMasterKey(
  tx: Transaction,
  secrets: Pick<Secrets, 'isRemote'>,
  { prepare, reason }: RotateMasterKey,
  asker: Asker,
): Promise<string> {
  requireFleetWide(asker.caller, 'the master key');
  if (secrets.isRemote) throw keysInKms();
  const id = randomUUID();
  // Every operation stands in a region; one of the whole fleet in the first.
  const region = await firstRegion(tx);
  if (region === undefined) throw nothingSealed();
  await startOperation(tx, {
    id,
    definition: rotateMasterKey,
    ...{ subject: 'fleet:master-key', subjectName: 'master-key', region },
    input: { prepare },
    ...{ caller: asker.caller, requestId: asker.requestId },
  });
  auditAsked(
    tx,
    { ...asker, reason },
    {
      action: rotateMasterKey.kind,
      resource: 'fleet:master-key',
      after: { prepare, operation: id },
    },
  );
  return id;
}

function nothingSealed(): FleetError {
  return new FleetError({
    code: 'nothing_sealed',
    status: 409,
    message: 'the fleet has no region yet, and nothing that is sealed',
    fix: 'fleet region create NAME',
  });
}

function keysInKms(): FleetError {
  return new FleetError({
    code: 'keys_in_kms',
    status: 409,
    message: 'this fleet keeps its keys in KMS, where no master key wraps them',
    fix: 'aws kms enable-key-rotation --key-id alias/FLEET/tenant-ID has KMS rotate a key each year by itself',
  });
}

/**
 * Notes at start which master key the registry is used with, and that this process has it.
 * @throws FleetError `wrong_master_key`
 */
export async function claimMasterKey(registry: Registry, masterKey: MasterKey): Promise<void> {
  await registry.transaction(async (tx) => {
    const state = await holdMasterKey(tx);
    if (state !== undefined) return void requireKey(masterKey, state.keyId);
    const [sample] = await lockOthers(tx, '', 1);
    if (sample !== undefined) rewrap(masterKey, requireKey(masterKey, undefined), sample);
    await noteMasterKey(tx, idOf(requireKey(masterKey, undefined)));
  });
}

/**
 * At start: a rotation that ran on another machine did not reach the files of this one. They follow here, so that the
 * old key may be taken from this machine's master.key.
 * @throws FleetError `wrong_master_key`
 */
export async function sealOwnFiles({ registry, ...own }: MasterKeyDeps): Promise<void> {
  if (keysOf(own.masterKey).length === 1) return;
  await registry.transaction(async (tx) => sealUnder((await stateOf(tx)).keyId, own));
}

function unlessPreparing(step: (context: Context, deps: MasterKeyDeps) => Promise<void>) {
  return async (context: Context, deps: MasterKeyDeps): Promise<void> => {
    if (!context.input.prepare) await step(context, deps);
  };
}

const Made = z.object({ keyId: z.string() });

/**
 * A rotation that was not ended is ended first; a key that was prepared is used, and no other: whatever else the file
 * holds may be a key of before. Cut off between file and note, it leaves a key that nothing uses; `finish` drops it.
 * @throws FleetError `wrong_master_key`
 */
async function make(
  { transaction, input, operationId }: Context,
  { masterKey }: MasterKeyDeps,
): Promise<z.infer<typeof Made>> {
  return transaction(async (tx) => {
    const state = await stateOf(tx);
    if (state.from !== null) return { keyId: state.keyId };
    requireKey(masterKey, state.keyId);
    const { prepared } = state;
    if (prepared !== null) {
      if (keysOf(masterKey).some((key) => idOf(key) === prepared)) return { keyId: prepared };
      if (!input.prepare) throw preparedElsewhere(operationId);
    }
    const keyId = idOf(addKey(fileOf(masterKey)));
    await changeMasterKey(tx, { ...state, prepared: keyId });
    return { keyId };
  });
}

function preparedElsewhere(operationId: string): FleetError {
  return new FleetError({
    code: 'wrong_master_key',
    status: 500,
    message: `master.key on ${hostname()} does not hold the key that was prepared`,
    fix:
      `copy master.key to ${hostname()} from the machine that prepared it, then fleet operation retry ${operationId}; ` +
      'if it is lost, fleet secret rotate --master-key --prepare makes another',
  });
}

/** From its commit on nothing is wrapped under the old key any more: who is just doing so is waited for. */
async function switchOver({ transaction, output }: Context, { masterKey }: MasterKeyDeps): Promise<void> {
  const { keyId } = output('make', Made);
  requireKey(masterKey, keyId);
  await transaction(async (tx) => {
    const before = await stateOf(tx);
    if (before.keyId !== keyId) await changeMasterKey(tx, { keyId, from: before.keyId, prepared: null });
  });
}

async function wrapAll(
  { transaction, output, signal }: Context,
  { masterKey }: MasterKeyDeps,
): Promise<void> {
  const { keyId } = output('make', Made);
  const next = requireKey(masterKey, keyId);
  for (let wrapped = BATCH; wrapped === BATCH;) {
    signal.throwIfAborted();
    wrapped = await transaction(async (tx) => {
      const others = await lockOthers(tx, keyId, BATCH);
      await saveWrapped(
        tx,
        others.map((one) => ({ owner: one.owner, wrapped: rewrap(masterKey, next, one) })),
      );
      return others.length;
    });
  }
}

async function sealFiles({ output }: Context, deps: MasterKeyDeps): Promise<void> {
  sealUnder(output('make', Made).keyId, deps);
}

function sealUnder(keyId: string, { masterKey, sealedFiles }: Omit<MasterKeyDeps, 'registry'>): void {
  if (idOf(requireKey(masterKey, undefined)) !== keyId) keepKeys(fileOf(masterKey), keyId, 'keep');
  for (const { file, purpose } of sealedFiles()) {
    const plain = openFile(masterKey, file, purpose);
    if (plain !== undefined) sealFile(masterKey, file, purpose, plain);
  }
}

async function finish({ transaction, output }: Context, deps: MasterKeyDeps): Promise<void> {
  const { masterKey } = deps;
  const { keyId } = output('make', Made);
  // The step before may have run on another machine, which has other files.
  sealUnder(keyId, deps);
  await transaction(async (tx) => {
    const left = await countOthers(tx, keyId);
    if (left > 0) throw new Error(`${left} data keys are still wrapped under another master key`);
    keepKeys(fileOf(masterKey), keyId, 'forget');
    await changeMasterKey(tx, { keyId, from: null, prepared: null });
  });
}

async function stateOf(tx: Transaction): Promise<MasterKeyState> {
  const state = await holdMasterKey(tx);
  if (state === undefined) throw new Error('no control plane has noted its master key');
  return state;
}

function fileOf(masterKey: MasterKey): MasterKeyFile {
  if (Buffer.isBuffer(masterKey)) throw new Error('a master key that is in no file cannot be rotated');
  return masterKey;
}
