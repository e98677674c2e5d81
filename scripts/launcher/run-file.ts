import { rmSync } from 'node:fs';
import { isAbsolute, join, relative } from 'node:path';
import { writeContexts } from '../../fleet-cli/contexts.ts';
import { dataFiles } from '../../platform/config.ts';
import { writePrivate } from '../../platform/files.ts';
import { projectRoot } from '../../platform/project.ts';

/** What runs and where, for other programs: `run.json`. Its paths count from the project's folder. */
export interface RunFile {
  controlPlane: { url: string; pid: number | undefined };
  apps: Record<string, { url: string; pid: number | undefined; domain: string }>;
  adminTokenFile: string;
  registryUrlFile: string;
}

/** Tells other programs what runs, where it answers, and where its keys lie. */
export function writeRunFile(dataDir: string, running: Pick<RunFile, 'controlPlane' | 'apps'>): void {
  const files = dataFiles(dataDir);
  const content: RunFile = {
    ...running,
    adminTokenFile: fromProject(files.adminToken),
    registryUrlFile: fromProject(files.registryUrl),
  };
  writePrivate(files.run, `${JSON.stringify(content, null, 2)}\n`);
}

/** Its absence says that nothing runs, or that something broke. */
export function removeRunFile(dataDir: string): void {
  rmSync(dataFiles(dataDir).run, { force: true });
}

/** The context that makes `npx fleet …` work at once from the project's folder. */
export function writeCliContext(dataDir: string, url: string): void {
  writeContexts(join(dataDir, 'context.json'), {
    contexts: { local: { url, tokenFile: dataFiles(dataDir).adminToken } },
    current: 'local',
  });
}

function fromProject(file: string): string {
  const path = relative(projectRoot(), file);
  return path.startsWith('..') || isAbsolute(path) ? file : path;
}
