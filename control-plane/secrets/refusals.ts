import { FleetError } from '../../platform/errors.ts';
import { UnsealError, type UnsealReason } from '../../platform/sealing.ts';

interface Refusal {
  code: string;
  message: string;
  fix: string;
}

const RESTORE = 'restore the registry from a backup, and find out who can write to it';

const VALUE: Record<UnsealReason, Refusal> = {
  unknown_format: {
    code: 'secret_format_unknown',
    message: 'is sealed in a format that this version does not know',
    fix: 'run the version of Flotilla that has written it, or a later one',
  },
  truncated: {
    code: 'secret_truncated',
    message: 'is cut off: bytes are missing at its end',
    fix: RESTORE,
  },
  wrong_key: {
    code: 'secret_swapped',
    message: "is sealed under another key than its owner's: it is another owner's, or older than the key",
    fix: RESTORE,
  },
  swapped: {
    code: 'secret_swapped',
    message: 'was sealed for another owner, subject or version, and copied here',
    fix: RESTORE,
  },
  tampered: {
    code: 'secret_tampered',
    message: 'was changed after it was sealed',
    fix: RESTORE,
  },
};

/** The master key's own layer: there another key means that the file is not the one that belongs here. */
const KEY: Record<UnsealReason, Refusal> = {
  ...VALUE,
  wrong_key: {
    code: 'wrong_master_key',
    message: 'is sealed under another master key than the one in master.key',
    fix: 'put the master.key back that this registry was used with; the registry itself is whole',
  },
};

/** Runs `work`; what does not open becomes a FleetError that says which of the layers refused and why. */
export function refusing<T>(layer: 'value' | 'key', what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof UnsealError)) throw error;
    const { code, message, fix } = (layer === 'key' ? KEY : VALUE)[error.reason];
    throw new FleetError({ code, status: 500, message: `${what} ${message}`, fix, cause: error });
  }
}

export function keyMissing(owner: string): FleetError {
  return new FleetError({
    code: 'key_missing',
    status: 404,
    message: `there is no key of ${owner}: it was destroyed or never made`,
    fix: 'nothing that was sealed under it can be read again; where that was a mistake, restore a backup',
  });
}

export function keyPendingDestruction(owner: string, goneAt: Date | undefined): FleetError {
  const when = goneAt === undefined ? 'soon' : `on ${goneAt.toISOString()}`;
  return new FleetError({
    code: 'key_pending_destruction',
    status: 409,
    message: `the key of ${owner} is to be destroyed ${when}, and opens nothing until then`,
    fix: 'cancel its destruction if its secrets are still needed',
  });
}
