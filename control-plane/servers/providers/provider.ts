import type { PgAddress } from '../../../platform/pg.ts';

/** Where servers come from. One is made per registration. */
export interface Provider {
  /**
   * Makes sure that the server runs and says how it is reached as the admin it came with. Idempotent.
   * @throws FleetError when it cannot be started, or its credential is gone
   */
  open(): Promise<PgAddress>;
  /** Takes away what `open` made. Harmless twice, and when nothing was made. */
  discard(): Promise<void>;
}
