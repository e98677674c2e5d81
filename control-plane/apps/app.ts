import type { SchemaRange } from '../../contract/app.ts';

/** One process of a region's tenant app, as it has reported itself. */
export interface AppInstance {
  id: string;
  region: string;
  /** Semantic version. */
  version: string;
  acceptsSchema: SchemaRange;
  lastSeen: Date;
}

/**
 * An instance that did not say goodbye counts as running until it was silent for this many minutes in which the
 * control plane listened. Apps report every ten seconds, so that this bears a pause for a cut network or a debugger;
 * one that was killed holds back a contract step no longer than this. Time in which no control plane ran does not
 * count: nobody can have been heard.
 */
export const SILENT_MINUTES_MAX = 10;
