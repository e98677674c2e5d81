import type { RenderedMigration } from '../../../contract/release.ts';

/** How long the failing migration sleeps at its end, in seconds: time that locks are seen to be held. */
export const SLEEP_S = 0.1;

const TABLES =
  'CREATE TABLE tasks (id int PRIMARY KEY, title text); CREATE TABLE projects (id int PRIMARY KEY)';
/** By name; each is the one before and these. */
export const RELEASES: Record<string, (Partial<RenderedMigration> & { upSql: string })[]> = {
  base: [{ upSql: `${TABLES}; CREATE TYPE mood AS ENUM ('good')` }],
  strict: [
    { upSql: 'ALTER TABLE projects ADD COLUMN code uuid DEFAULT gen_random_uuid()' },
    {
      upSql: `INSERT INTO projects (id) VALUES (1);
              ALTER TABLE tasks ADD CONSTRAINT brief CHECK (length(title) < 20);
              SELECT pg_sleep(${SLEEP_S})`,
    },
  ],
  long: [{ upSql: 'LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(0.4)' }],
  mood: [
    { upSql: `ALTER TYPE mood ADD VALUE 'bad'` },
    { upSql: `ALTER TABLE tasks ADD COLUMN mood mood DEFAULT 'bad'` },
  ],
  index: [{ upSql: 'CREATE INDEX CONCURRENTLY tasks_title ON tasks (title)', transactional: false }],
};
