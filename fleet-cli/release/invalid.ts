import { FleetError, type FleetErrorFields } from '../../platform/errors.ts';

/** A file that cannot be rendered; `path` is `file` or `file:line`. */
export function invalid(path: string, message: string, more: Partial<FleetErrorFields> = {}): FleetError {
  return new FleetError({
    code: 'migration_invalid',
    status: 422,
    message: `${path} ${message}`,
    errors: [{ path, message }],
    ...more,
  });
}
