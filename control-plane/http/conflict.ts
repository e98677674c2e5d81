import { FleetError } from '../../platform/errors.ts';

/** A resource as messages and commands name it: `tenant acme`, `fleet tenant get acme`. */
interface Named {
  noun: 'tenant' | 'server' | 'rollout' | 'operation' | 'rotation';
  /** Name or id. */
  name: string;
}

/** @throws FleetError 412 `version_conflict` when `If-Match` names another version than the resource has. */
export function requireVersion(
  { noun, name, version }: Named & { version: number },
  ifMatch: number | undefined,
): void {
  if (ifMatch === undefined || ifMatch === version) return;
  throw new FleetError({
    code: 'version_conflict',
    status: 412,
    message: `${noun} ${name} is at version ${version}, not ${ifMatch}: somebody changed it meanwhile`,
    fix: `fleet ${noun} get ${name}, then decide again`,
  });
}

/**
 * What somebody asked of a resource that its state does not allow: 409 `wrong_state`, naming the states that do.
 * `fix` where there is something better to do than to look.
 */
export function wrongState(
  { noun, name, state }: Named & { state: string },
  verb: string,
  allowed: readonly string[],
  fix = `fleet ${noun} get ${name}`,
): FleetError {
  return new FleetError({
    code: 'wrong_state',
    status: 409,
    message: `${noun} ${name} is ${state}: ${verb} needs it to be ${allowed.join(' or ')}`,
    fix,
  });
}
