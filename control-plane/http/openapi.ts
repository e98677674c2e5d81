import type { SliceRoutes } from './route.ts';
export function openApiDocument(slices: SliceRoutes[]): object {
  return { slices };
}
