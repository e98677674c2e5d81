import { writeFileSync } from 'node:fs';
for (const [path, variable] of Object.entries(JSON.parse(process.env.FILES))) {
  writeFileSync(path, `${process.env[variable]}\n`, { mode: 0o600 });
}
