-- Up Migration
-- The product's tenant schema: projects, and the tasks in them. Lists are paged by (created_at, id).

CREATE TABLE projects (
  id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  name        text NOT NULL CHECK (name <> ''),
  description text,
  archived    boolean NOT NULL DEFAULT false,
  -- Raised by every change: the ETag.
  version     integer NOT NULL DEFAULT 1,
  created_at  timestamptz NOT NULL DEFAULT now(),
  updated_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX projects_page ON projects (created_at, id);

CREATE TABLE tasks (
  id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  project_id uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
  title      text NOT NULL CHECK (title <> ''),
  done       boolean NOT NULL DEFAULT false,
  due_on     date,
  version    integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX tasks_page ON tasks (project_id, created_at, id);

-- Down Migration
DROP TABLE tasks;
DROP TABLE projects;
